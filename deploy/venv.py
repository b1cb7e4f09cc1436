"""Sets up `.venv` of this checkout from the lock files: `make setup`.

The exact versions first, then this project without looking for anything else. Of the user's pip settings those count
that say where packages come from and how to get there; what would change what is installed, or where to, does not.
A set-up that was cut off, and a `.venv` that was moved, copied or has lost its Python, is made anew.
"""

import ast
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"
UNFINISHED = VENV / ".unfinished"
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")

# Where from, and how to get there; pip's names. All others (constraint, user, target, no-binary, ...) are left out.
KEPT = (
    "cache-dir", "cert", "client-cert", "extra-index-url", "find-links", "index-url", "keyring-provider",
    "no-cache-dir", "no-index", "proxy", "retries", "timeout", "trusted-host",
)  # fmt: skip
# With these another Python, or packages of another place, would be seen and taken for ours.
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")

NO_ENSUREPIP = """{python} can make no virtual environment: {missing} is missing.
On Debian and Ubuntu: apt install python{version}-venv (or make PYTHON=... with another Python from 3.11)"""


def environment(settings: str, given: dict[str, str]) -> dict[str, str]:
    """The environment for pip: `given` without what disturbs, and the settings that are kept.

    `settings` is what `pip config list` printed: of all files and variables, the strongest last.
    """
    kept = {name: value for name, value in given.items() if not name.startswith("PIP_") and name not in LEFT_OUT}
    kept |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    found: dict[tuple[int, str], str] = {}
    for line in settings.splitlines():
        section, _, rest = line.partition(".")
        name, equals, value = rest.partition("=")
        if equals and name in KEPT and section in ("global", "install", ":env:"):
            # A section of its command is stronger than [global], a variable stronger than both.
            found[("global", "install", ":env:").index(section), name] = str(ast.literal_eval(value))
    for (_, name), value in sorted(found.items()):
        kept[f"PIP_{name.replace('-', '_').upper()}"] = value
    return kept


def usable() -> bool:
    """Whether there is a `.venv` that was made here, not half, and whose Python and pip run."""
    if UNFINISHED.exists() or not PYTHON.exists():
        return False
    program = VENV / "bin" / "agent-runner"  # its first lines name the place that it was made for
    if program.exists() and f"{VENV}/bin/" not in program.read_text(errors="replace"):
        return False
    ask = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([PYTHON, "-I", "-c", ask], capture_output=True, check=False).returncode == 0


def make_venv() -> None:
    """A new `.venv`, in place of what is there. SystemExit where this Python cannot make one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for missing in ("venv", "ensurepip"):
        if subprocess.run([sys.executable, "-c", f"import {missing}"], capture_output=True, check=False).returncode:
            raise SystemExit(NO_ENSUREPIP.format(python=sys.executable, missing=missing, version=version))
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        print(".venv was not finished, or made elsewhere or for another Python; making it anew", file=sys.stderr)
        shutil.rmtree(VENV)
    VENV.mkdir()
    UNFINISHED.touch()
    run([sys.executable, "-m", "venv", str(VENV)], {**os.environ})


def install() -> None:
    """The locked versions, and this project as an editable install."""
    pip, env = pip_install(PYTHON), own_environment()
    run([*pip, "--require-hashes", *(f"--requirement={path}" for path in LOCKS)], env)
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], env)


def own_environment() -> dict[str, str]:
    """For pip: this process's environment, and the user's settings that are kept."""
    given = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    asked = subprocess.run(
        [PYTHON, "-I", "-m", "pip", "config", "list"], env=given, capture_output=True, text=True, check=False
    )
    return environment(asked.stdout, given)


def pip_install(python: Path) -> list[str]:
    return [str(python), "-I", "-m", "pip", "install", "-qq"]


def make_apart(place: Path) -> list[str]:
    """A new and empty environment, in place of what is there; returns its `pip install`."""
    shutil.rmtree(place, ignore_errors=True)
    # With the base Python: an environment that is made in another one is tied to it.
    run([f"{sys.base_prefix}/bin/python3", "-m", "venv", str(place)], {**os.environ})
    return pip_install(place / "bin" / "python")


def run(command: list[str], env: dict[str, str]) -> None:
    """Runs a step; SystemExit with what to do where it failed (it has said why)."""
    if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
        raise SystemExit("the set-up failed, see above; nothing of it is used. `make setup` tries again")


def main() -> None:
    """One at a time: a second `make` waits for the first and finds everything done."""
    with LOCKS[0].open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = usable()
        if (
            fresh
            and READY.exists()
            and READY.stat().st_mtime > max(p.stat().st_mtime for p in (*LOCKS, ROOT / "pyproject.toml"))
        ):
            return
        print("setting up .venv from the lock files (once; a minute or two) ...", flush=True)
        if not fresh:
            make_venv()
        READY.unlink(missing_ok=True)
        UNFINISHED.touch()
        install()
        READY.touch()
        UNFINISHED.unlink()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the next make begins anew")
