"""The migrations are one line: each has its number once, and follows the one before it.

Two branches that each add one merge without a conflict, and no server starts any more.
"""

import re
import sys

from checks.tree import ROOT

VERSIONS = ROOT / "status" / "store" / "migrations" / "versions"
NAMED = re.compile(r"^(down_)?revision = (?:\"(\w+)\"|None)$", re.MULTILINE)


def problems() -> list[str]:
    found, before = [], ""
    for path in sorted(VERSIONS.glob("[0-9]*.py")):
        names = dict(NAMED.findall(path.read_text()))
        number = path.name.partition("_")[0]
        if names != {"": number, "down_": before}:
            found.append(f"{path.relative_to(ROOT)}: must be revision {number} after {before or 'none'}")
        before = number
    return found


if __name__ == "__main__":
    wrong = problems()
    print("\n".join(wrong) or f"{len(list(VERSIONS.glob('[0-9]*.py')))} migrations, one after the other")
    sys.exit(bool(wrong))
