"""Runs the tests; those that failed, if they are few, run again alone, and are named as not steady when they pass then.

`python -m checks.steady PROCESSES [PYTEST ARGUMENTS]`. A machine that is full of work may be too slow for a test once.
That is no fault of the change that is tested, but it is one of the test: it is printed, and is to be mended. A test
that fails twice fails the run, and so do more than a few that fail once.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FEW = 5
"""More tests than this that fail together have a common cause: they are not run again."""
SOME_FAILED = 1
"""What pytest exits with then. All other codes mean that it could not run them (a syntax error, a wrong option)."""


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """What pytest exits with, and the ids of the tests that failed."""
    with tempfile.TemporaryDirectory(prefix="steady-") as folder:
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={folder}/cache", *arguments]
        code = subprocess.run(command, check=False).returncode
        failed = Path(folder) / "cache" / "v" / "cache" / "lastfailed"
        return code, sorted(json.loads(failed.read_text())) if failed.exists() else []


def main(processes: str, arguments: Sequence[str]) -> int:
    """0 if each test passed, at the latest alone."""
    code, failed = run(["-n", processes, *arguments])
    if code != SOME_FAILED or not failed:
        return code
    if len(failed) > FEW:
        print(f"{len(failed)} tests failed. Only {FEW} or fewer are run again alone.", flush=True)
        return code
    print(f"{len(failed)} failed; again, alone: {', '.join(failed)}", flush=True)
    code, failed_again = run(["-n", "0", *failed])
    for test in failed_again:
        print(f"FAILED TWICE: {test}")
    if code not in (0, SOME_FAILED):
        return code
    for test in sorted(set(failed) - set(failed_again)):
        print(f"UNSTEADY: {test} failed among the others and passed alone")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
