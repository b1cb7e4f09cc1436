"""Makes the lock files from pyproject.toml: `make lock`, in a folder of its own that has uv and a current pip.

One resolution of everything gives the versions. Production gets what it needs of them, the wheel's build likewise, and
the file for development holds what is left. The docs site and the engine graphton have environments of their own: their
packages have the same versions where they can. What the extra `daytona` brings stands in a file of its own, too, for an
environment that is laid over the one for development. What the metadata of each locked package requires is kept beside
them, for `checks/extras.py`. No file names an index or a download address.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from checks.extras import kept_of, project_requirements
from checks.locked import (
    BUILD,
    DAYTONA,
    DEVELOPMENT,
    DOCS,
    GRAPHTON,
    METADATA,
    PRODUCTION,
    Locked,
    blocks,
    extras_by_pin,
    locked,
    requirement_of,
)
from checks.tree import ROOT

# Where a wheel may be found whose metadata this machine would not install.
ELSEWHERE = ("win_amd64", "macosx_11_0_arm64", "manylinux2014_aarch64")


def compiled(target: Path, preferred: str, *arguments: str) -> str:
    """The text of a lock file; versions of `preferred` (a lock file's text) are kept where they can be."""
    target.write_text(preferred)
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", *arguments, "--universal", "--python-version", "3.11"]
    # Without its extras in the file, an older pip does not tie a version to a dependency that names one.
    command += ["--no-strip-extras", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet"]
    subprocess.run([*command, "--output-file", str(target)], cwd=ROOT, check=True)
    return target.read_text()


def required_by(pins: list[str], folder: Path) -> dict[str, list[str]]:
    """What the metadata of these releases requires, as written there: asked of the index, nothing is installed."""
    try:
        return _reported(pins, folder)
    except subprocess.CalledProcessError:
        found: dict[str, list[str]] = {}
        for pin in pins:
            found |= _from_anywhere(pin, folder)
        return found


def _from_anywhere(pin: str, folder: Path) -> dict[str, list[str]]:
    for platform in (None, *ELSEWHERE):
        try:
            return _reported([pin], folder, *([f"--platform={platform}"] if platform else []))
        except subprocess.CalledProcessError:
            continue
    raise SystemExit(f"no wheel of {pin} was found, so that nobody knows what it requires")


def _reported(pins: list[str], folder: Path, *arguments: str) -> dict[str, list[str]]:
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "-qq"]
    command += [
        "--ignore-requires-python",
        "--only-binary=:all:",
        f"--target={folder / 'target'}",
        f"--report={report}",
    ]
    subprocess.run([*command, *arguments, *pins], check=True)
    asked = {pin.partition("==")[0]: pin for pin in pins}
    metadata = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    return {asked[_name(of["name"])]: of.get("requires_dist", []) for of in metadata}


def asked_for(entries: list[Locked], required: Mapping[str, list[str]]) -> set[tuple[str, frozenset[str]]]:
    """Each package with each combination of extras that anybody asks for it with."""
    groups = ("dev", "docs", "daytona")
    lines = [*project_requirements(), *(line for group in groups for line in project_requirements(group))]
    for pin, extras in extras_by_pin(entries).items():
        lines += kept_of(required[pin], extras)
    needs = map(Requirement, lines)
    return {(canonicalize_name(need.name), frozenset(map(canonicalize_name, need.extras))) for need in needs}


def with_each_form(text: str, asked: set[tuple[str, frozenset[str]]]) -> str:
    """The lock file with a line per combination of extras: older pips tie a version to exactly the one it stands at."""
    found = ""
    for block in blocks(text):
        (entry,) = locked(block)
        forms = {extras for name, extras in asked if name == entry.name and extras <= entry.extras} | {entry.extras}
        for extras in sorted(forms, key=sorted):
            form = f"{entry.name}[{','.join(sorted(extras))}]" if extras else entry.name
            found += form + block[block.index("==") :]
    return found


def preferred_for(lock: Path, whole: str) -> str:
    """The versions of everything else, and those that `lock` had before for what nothing else needs."""
    names = {entry.name for entry in locked(whole)}
    before = blocks(lock.read_text()) if lock.exists() else ()
    return whole + "".join(block for block in before if locked(block)[0].name not in names)


def with_daytona(target: Path, whole: str) -> str:
    """What the SDK of Daytona needs beside everything else, and of some packages other versions: its environment is one
    of its own."""
    before = DAYTONA.read_text() if DAYTONA.exists() else ""
    text = compiled(target, whole + before, "pyproject.toml", "--group", "dev", "--group", "daytona")
    there = extras_by_pin(locked(whole))
    return "".join(block for block in blocks(text) if locked(block)[0].pin not in there)


def _name(written: str) -> str:
    return locked(f"{written}==0\n")[0].name


def main(arguments: list[str]) -> None:
    """`--upgrade` and other options of uv are passed on."""
    before = "".join(path.read_text() for path in (PRODUCTION, DEVELOPMENT) if path.exists())
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        whole = compiled(folder / "whole.lock", before, "pyproject.toml", "--group", "dev", *arguments)
        production = compiled(folder / "production.lock", whole, "pyproject.toml")
        build = compiled(folder / "build.lock", whole, "--group", "build")
        docs = compiled(folder / "docs.lock", preferred_for(DOCS, whole), "--group", "docs", *arguments)
        engine = ("pyproject.toml", "--extra", "graphton", "--group", "graphton")
        graphton = compiled(folder / "graphton.lock", preferred_for(GRAPHTON, whole), *engine, *arguments)
        apart = sorted(extras_by_pin(locked(production, build)).keys() - extras_by_pin(locked(whole)).keys())
        if apart:
            raise SystemExit(f"production or build would have other versions than development: {', '.join(apart)}")
        daytona = with_daytona(folder / "daytona.lock", whole)
        everything = extras_by_pin(locked(whole, docs, daytona))
        required = required_by(sorted(everything), folder)
    asked = asked_for(locked(whole, docs, daytona), required)
    whole, production, docs, daytona = (with_each_form(text, asked) for text in (whole, production, docs, daytona))
    there = {requirement_of(block) for block in blocks(production)}
    PRODUCTION.write_text(production)
    BUILD.write_text(build)
    DOCS.write_text(docs)
    DAYTONA.write_text(daytona)
    GRAPHTON.write_text(graphton)  # installed without looking for dependencies: one line for a package is enough
    DEVELOPMENT.write_text("".join(block for block in blocks(whole) if requirement_of(block) not in there))
    kept = {pin: kept_of(required[pin], extras) for pin, extras in sorted(everything.items())}
    METADATA.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
