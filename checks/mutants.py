"""Every patch of tests/mutants still fits the code: one that does not apply proves nothing."""

import subprocess
import sys
from pathlib import Path

from checks.tree import ROOT, shown


def stale(folder: Path) -> list[str]:
    """What git says against the patches that do not apply."""
    found = []
    for patch in sorted(folder.glob("*.patch")):
        done = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(f"{shown(patch)} does not apply: {done.stderr.strip().splitlines()[0]}")
    return found


def main() -> int:
    problems = stale(ROOT / "tests" / "mutants")
    print("\n".join(problems), end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
