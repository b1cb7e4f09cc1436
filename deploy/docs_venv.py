"""Sets up `.venv/docs`, which builds the docs site, from its lock file: `make site` does this first.

It stands apart from `.venv`: what builds pages can neither change nor break what runs agents.
"""

from deploy.venv import ROOT, VENV, make_apart, own_environment, run

LOCK = ROOT / "requirements-docs.lock"
TOOLS = VENV / "docs"
READY = TOOLS / ".ready"


def main() -> None:
    """Anew each time that the lock file is newer, so that nothing of an older one is left."""
    if READY.exists() and READY.stat().st_mtime > LOCK.stat().st_mtime:
        return
    print("setting up .venv/docs from its lock file ...", flush=True)
    run([*make_apart(TOOLS), "--require-hashes", f"--requirement={LOCK}"], own_environment())
    READY.touch()


if __name__ == "__main__":
    main()
