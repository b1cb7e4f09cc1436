"""Sets up `.venv/daytona`, where the SDK of Daytona is beside everything else: `make test-daytona` does this first.

The SDK brings some forty packages that nothing else needs. They lie in an environment that sees `.venv`, and cannot
change what is in it.
"""

import os
import shutil
import subprocess
import sys
import sysconfig

from deploy.venv import LEFT_OUT, PYTHON, ROOT, VENV, environment, run

LOCK = ROOT / "requirements-daytona.lock"
PLACE = VENV / "daytona"
READY = PLACE / ".ready"


def main() -> None:
    """Anew each time that a lock file, or `.venv`, is newer."""
    made = READY.stat().st_mtime if READY.exists() else 0.0
    if made > max(LOCK.stat().st_mtime, (VENV / ".ready").stat().st_mtime):
        return
    print("setting up .venv/daytona from its lock file ...", flush=True)
    shutil.rmtree(PLACE, ignore_errors=True)
    given = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    settings = subprocess.run(
        [PYTHON, "-I", "-m", "pip", "config", "list"], env=given, capture_output=True, text=True, check=False
    )
    # With the base Python: an environment that is made in another one is tied to it.
    run([f"{sys.base_prefix}/bin/python3", "-m", "venv", str(PLACE)], {**os.environ})
    pip = [str(PLACE / "bin" / "python"), "-I", "-m", "pip", "install", "-qq", "--require-hashes", "--no-deps"]
    run([*pip, f"--requirement={LOCK}"], environment(settings.stdout, given))
    # What .venv has is there too; `site.addsitedir` also follows its .pth files, by which it has this project.
    packages = sysconfig.get_path("purelib", vars={"base": str(PLACE), "platbase": str(PLACE)})
    shared = sysconfig.get_path("purelib")
    with open(f"{packages}/shared.pth", "w") as file:
        file.write(f"import site; site.addsitedir({shared!r})\n")
    READY.touch()


if __name__ == "__main__":
    main()
