"""The files of this repository that the checks look at."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".venv", ".git", "build", "dist", "node_modules", "__pycache__", ".agent-runner"}


def files(suffix: str, *, without: tuple[str, ...] = ()) -> Iterator[Path]:
    """Every file that ends in `suffix`, as an absolute path, sorted; `without` are folders relative to the root."""
    skipped = {ROOT / folder for folder in without}
    found = []
    for folder, inner, names in os.walk(ROOT):
        here = Path(folder)
        # What is not ours holds a hundred times as many files: it is not entered.
        inner[:] = [name for name in inner if name not in NOT_OURS and here / name not in skipped]
        found += [here / name for name in names if name.endswith(suffix) and here / name not in skipped]
    yield from sorted(found)


def shown(path: Path) -> str:
    """The path as people write it: relative to the root."""
    return str(path.relative_to(ROOT))
