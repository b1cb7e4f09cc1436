"""Sets up `.venv/daytona`, where the SDK of Daytona is beside everything else: `make test-daytona` does this first.

The SDK brings some forty packages that nothing else needs. They lie in an environment that sees `.venv`, and cannot
change what is in it.
"""

import sysconfig

from deploy.venv import ROOT, VENV, make_apart, own_environment, run

LOCK = ROOT / "requirements-daytona.lock"
PLACE = VENV / "daytona"
READY = PLACE / ".ready"


def main() -> None:
    """Anew each time that a lock file, or `.venv`, is newer."""
    made = READY.stat().st_mtime if READY.exists() else 0.0
    if made > max(LOCK.stat().st_mtime, (VENV / ".ready").stat().st_mtime):
        return
    print("setting up .venv/daytona from its lock file ...", flush=True)
    run([*make_apart(PLACE), "--require-hashes", "--no-deps", f"--requirement={LOCK}"], own_environment())
    # What .venv has is there too; `site.addsitedir` also follows its .pth files, by which it has this project.
    packages = sysconfig.get_path("purelib", vars={"base": str(PLACE), "platbase": str(PLACE)})
    shared = sysconfig.get_path("purelib")
    with open(f"{packages}/shared.pth", "w") as file:
        file.write(f"import site; site.addsitedir({shared!r})\n")
    READY.touch()


if __name__ == "__main__":
    main()
