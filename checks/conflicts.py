"""No file holds what a merge left undecided: git's markers of a conflict, at the start of a line."""

import re
import sys
from pathlib import Path

from checks.tree import files, shown

_MARKER = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)


def problems(path: Path) -> list[str]:
    """One line per marker in this file."""
    held = path.read_bytes()
    lines = [held.count(b"\n", 0, found.start()) + 1 for found in _MARKER.finditer(held)]
    return [f"{shown(path)}:{line}: a conflict that was not decided" for line in lines]


if __name__ == "__main__":
    sys.exit("\n".join(line for path in files("") if path.is_file() for line in problems(path)) or None)
