"""Sets up `.venv/graphton`, the environment of the engine graphton, from its lock file, and runs the engine's tests in
it: `make test-graphton`.

It stands apart from `.venv`: graphton ties deepagents to a version that the engine `deepagents` cannot use.
"""

import os
import subprocess
import sys

from deploy.venv import ROOT, VENV, make_apart, own_environment, run

LOCK = ROOT / "requirements-graphton.lock"
PLACE = VENV / "graphton"
READY = PLACE / ".ready"
ENGINE = "tests/unit/engine"
TESTS = (
    "tests/graphton",
    # of the engine's tests, those that are about agents that we build
    *(
        f"{ENGINE}/test_{name}.py"
        for name in (
            "deep_agents", "golden_statuses", "approvals", "budget", "cut_off_calls", "malformed_calls",
            "masked_results", "memory", "pictures",
        )
    ),
    "tests/unit/mcp",
)  # fmt: skip


def set_up() -> None:
    """Anew each time that the lock file is newer, so that nothing of an older one is left."""
    if READY.exists() and READY.stat().st_mtime > LOCK.stat().st_mtime:
        return
    print("setting up .venv/graphton from its lock file (once; a minute or two) ...", flush=True)
    pip, env = [*make_apart(PLACE), "--no-deps"], own_environment()
    run([*pip, "--require-hashes", f"--requirement={LOCK}"], env)  # the file is whole: nothing has to be looked for
    run([*pip, "--no-build-isolation", "--editable", f"{ROOT}[graphton]"], env)
    READY.touch()


def main(arguments: list[str]) -> None:
    """`arguments` are for pytest, in place of the usual tests if some of them name a path."""
    set_up()
    python = str(PLACE / "bin" / "python")
    if wrong := subprocess.run([python, "-I", "-m", "pip", "check"], check=False).returncode:
        sys.exit(wrong)
    named = [one for one in arguments if (ROOT / one.partition("::")[0]).exists()]
    command = [python, "-m", "pytest", "-q", *arguments, *(() if named else TESTS)]
    env = {**os.environ, "AGENT_RUNNER_TEST_ENGINE": "graphton"}
    sys.exit(subprocess.run(command, cwd=ROOT, env=env, check=False).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
