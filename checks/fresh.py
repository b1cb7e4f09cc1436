"""A fresh machine can set this project up: with the oldest pip of each Python, and also when newer releases come out.

Each Python that is here sets up a copy of this checkout in a clean environment, with the pip that its first release
came with. Then a newer release of every package that is locked with an extra is offered in a folder, and the oldest pip
must not fall for it; the same lock files without extras must fail there, else the offer proves nothing.

Needs the package index. Where none is reached it says so and ends well, but not in continuous integration (`CI` set).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from checks.locked import DEVELOPMENT, PRODUCTION, extras_by_pin, locked
from checks.tree import NOT_OURS, ROOT

# Python: the pip that its first release bundles.
OLDEST = {"3.11": "22.3", "3.12": "23.2.1", "3.13": "24.2"}
LOCKS = (PRODUCTION.name, DEVELOPMENT.name)


def clean() -> dict[str, str]:
    """The environment of `env -i HOME PATH`."""
    return {name: os.environ[name] for name in ("HOME", "PATH")}


def interpreter(version: str) -> str:
    """The path of a Python of this version that runs; empty where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}")))):
        ask = [candidate, "-c", "import ensurepip, sys; print(sys.executable)"]
        try:
            found = subprocess.run(ask, capture_output=True, text=True, env=clean(), check=False)
        except FileNotFoundError:
            continue
        if found.returncode == 0:
            return found.stdout.strip()
    return ""


def ran(command: list[str], where: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=where, env=clean() | more, capture_output=True, text=True, check=False)


def must(command: list[str], where: Path, **more: str) -> str:
    """The output of a command; SystemExit with the end of it where it failed."""
    done = ran(command, where, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def copied(folder: Path) -> Path:
    """This checkout as it is, without what was built."""
    place = folder / "checkout"
    shutil.copytree(ROOT, place, symlinks=True, ignore=shutil.ignore_patterns(*NOT_OURS, ".*_cache", ".hypothesis"))
    return place


def set_up(python: str, pip: str, folder: Path) -> Path:
    """A copy that `make` has set up with this Python and this pip."""
    place = copied(folder)
    must([python, "-m", "venv", ".venv"], place)
    must([".venv/bin/python", "-m", "pip", "install", "-qq", f"pip=={pip}"], place)
    must(["make", "setup", f"PYTHON={python}"], place)
    assert f"pip {pip} " in must([".venv/bin/python", "-m", "pip", "--version"], place)
    must([".venv/bin/python", "-m", "pip", "check"], place)
    must([".venv/bin/agent-runner", "--help"], place)
    return place


def newer_releases(folder: Path) -> Iterator[str]:
    """Makes an empty wheel of a next release for each package that is locked with an extra; their names."""
    folder.mkdir()
    for pin, extras in extras_by_pin(locked(PRODUCTION.read_text(), DEVELOPMENT.read_text())).items():
        if extras:
            name, _, version = pin.partition("==")
            release = f"{name.replace('-', '_')}-{version}.post1"
            about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}.post1\n"
            about += "".join(f"Provides-Extra: {extra}\n" for extra in sorted(extras))
            with zipfile.ZipFile(folder / f"{release}-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"{release}.dist-info/METADATA", about)
                wheel.writestr(
                    f"{release}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                )
                wheel.writestr(f"{release}.dist-info/RECORD", "")
            yield name


def without_extras(text: str) -> str:
    """A lock file as it is written where extras are stripped."""
    for entry in locked(text):
        for line in text.splitlines():
            if line.startswith(f"{entry.name}["):
                text = text.replace(line, line.replace(line[line.index("[") : line.index("]") + 1], ""))
    return text


def survives_newer_releases(place: Path, folder: Path) -> str:
    """Resolves the lock files while newer releases are on offer; the names of these. SystemExit where that fails."""
    links = folder / "newer"
    names = ", ".join(newer_releases(links))
    resolve = [".venv/bin/python", "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq", "--require-hashes"]
    resolve += [f"--requirement={name}" for name in LOCKS]
    must(resolve, place, PIP_FIND_LINKS=str(links))
    for name in LOCKS:
        (place / name).write_text(without_extras((place / name).read_text()))
    if ran(resolve, place, PIP_FIND_LINKS=str(links)).returncode == 0:
        raise SystemExit("lock files without extras were installed as well: the newer releases on offer prove nothing")
    return names


def index_is_reached(folder: Path) -> bool:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-qq",
        "--no-deps",
        "--no-cache-dir",
        f"--dest={folder / 'pip'}",
    ]
    return ran([*command, f"pip=={OLDEST['3.11']}"], folder).returncode == 0


def main() -> None:
    pythons = {version: found for version in OLDEST if (found := interpreter(version))}
    if not pythons:
        raise SystemExit(f"none of Python {', '.join(OLDEST)} is here")
    with tempfile.TemporaryDirectory(prefix="agent-runner-fresh-") as created:
        top = Path(created)
        if not index_is_reached(top):
            said = "check-fresh: no package index can be reached; nothing was proved"
            sys.exit(said if os.environ.get("CI") else print(said))
        for number, (version, python) in enumerate(pythons.items()):
            folder = top / version
            folder.mkdir()
            place = set_up(python, OLDEST[version], folder)
            print(f"Python {version} with pip {OLDEST[version]}: set up", flush=True)
            if number == 0:
                print(
                    f"  and runs: {must(['make', 'run', 'MSG=$ echo fresh'], place).count('COMPLETED')} COMPLETED",
                    flush=True,
                )
                print(f"  and with newer releases of {survives_newer_releases(place, folder)}", flush=True)
            shutil.rmtree(folder)
    for version in OLDEST.keys() - pythons.keys():
        print(f"Python {version}: not here, not proved")


if __name__ == "__main__":
    main()
