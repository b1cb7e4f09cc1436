"""The files of this repository that the checks look at."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".venv", ".git", "build", "dist", "node_modules", "__pycache__", ".agent-runner"}


def files(suffix: str, *, without: tuple[str, ...] = ()) -> Iterator[Path]:
    """Every file that ends in `suffix`, as an absolute path, sorted; `without` are folders relative to the root."""
    skipped = [ROOT / folder for folder in without]
    for path in sorted(ROOT.rglob(f"*{suffix}")):
        if NOT_OURS.isdisjoint(path.relative_to(ROOT).parts) and not any(path.is_relative_to(s) for s in skipped):
            yield path


def shown(path: Path) -> str:
    """The path as people write it: relative to the root."""
    return str(path.relative_to(ROOT))
