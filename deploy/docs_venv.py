"""Sets up `.venv/docs`, which builds the docs site, from its lock file: `make site` does this first.

It stands apart from `.venv`: what builds pages can neither change nor break what runs agents.
"""

import os
import shutil
import subprocess
import sys

from deploy.venv import LEFT_OUT, PYTHON, ROOT, VENV, environment, run

LOCK = ROOT / "requirements-docs.lock"
TOOLS = VENV / "docs"
READY = TOOLS / ".ready"


def main() -> None:
    """Anew each time that the lock file is newer, so that nothing of an older one is left."""
    if READY.exists() and READY.stat().st_mtime > LOCK.stat().st_mtime:
        return
    print("setting up .venv/docs from its lock file ...", flush=True)
    shutil.rmtree(TOOLS, ignore_errors=True)
    given = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    settings = subprocess.run(
        [PYTHON, "-I", "-m", "pip", "config", "list"], env=given, capture_output=True, text=True, check=False
    )
    # With the base Python: an environment that is made in another one is tied to it.
    run([f"{sys.base_prefix}/bin/python3", "-m", "venv", str(TOOLS)], {**os.environ})
    pip = [str(TOOLS / "bin" / "python"), "-I", "-m", "pip", "install", "-qq", "--require-hashes"]
    run([*pip, f"--requirement={LOCK}"], environment(settings.stdout, given))
    READY.touch()


if __name__ == "__main__":
    main()
