"""The floor plan: how many files a folder of the product may hold, and how often a name may stand below `app/`.

A folder is read as a whole by whoever looks for something in it; a name that stands twice is opened twice.
"""

import sys
from collections import Counter
from pathlib import Path

from checks.tree import ROOT

FOLDERS = ("app", "tasks", "clients", "status")
MOST_FILES = 14
SERIES = ("status/store/migrations/versions",)
"""Folders that only ever grow, and of which nobody reads more than the last file."""
UNIQUE_BELOW = "app"
SPECIAL = ("__init__.py", "__main__.py")


def crowded(root: Path) -> list[str]:
    """Folders with more than MOST_FILES Python files of their own."""
    folders = sorted({path.parent for name in FOLDERS for path in (root / name).rglob("*.py")})
    counted = {folder: len(list(folder.glob("*.py"))) for folder in folders}
    return [
        f"{folder.relative_to(root)} holds {number} files, at most {MOST_FILES}: give some a folder of their own"
        for folder, number in counted.items()
        if number > MOST_FILES and str(folder.relative_to(root)) not in SERIES
    ]


def named_twice(root: Path) -> list[str]:
    """Names of files that stand in several folders below UNIQUE_BELOW."""
    names = Counter(path.name for path in (root / UNIQUE_BELOW).rglob("*.py") if path.name not in SPECIAL)
    return [
        f"{name} stands {number} times below {UNIQUE_BELOW}/" for name, number in sorted(names.items()) if number > 1
    ]


def main() -> int:
    problems = crowded(ROOT) + named_twice(ROOT)
    print("\n".join(problems), end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
