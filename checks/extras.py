"""Everything that a locked package needs is locked too, and with the extras it is asked for with.

Older resolvers (pip before 23.3) do not tie `google-auth==2.62.2` in a lock file to a dependency on
`google-auth[requests]`, nor `sqlalchemy[asyncio]==2.1.9` to one on `sqlalchemy`: they take the newest release instead,
which has no hash, and the set-up fails on the day that one comes out. So each dependency, of any package in the
closure, on any platform and any Python that we support, must have a line with exactly the extras it is asked for with.
"""

import importlib.metadata
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from checks.locked import (
    DAYTONA,
    DEVELOPMENT,
    DOCS,
    METADATA,
    PRODUCTION,
    Locked,
    Metadata,
    extras_by_pin,
    locked,
    read_metadata,
)
from checks.tree import ROOT

OURS = "pyproject.toml"

# One value of each kind that markers are about; the patch releases are those that markers in use tell apart.
PYTHONS = ("3.11.0", "3.11.15", "3.12.0", "3.12.13", "3.13.0", "3.13.12", "3.14.0", "3.15.0")
PLATFORMS = (
    ("linux", "Linux", "posix", ("x86_64", "aarch64", "ppc64le", "s390x", "armv7l", "i686")),
    ("darwin", "Darwin", "posix", ("x86_64", "arm64")),
    ("win32", "Windows", "nt", ("AMD64", "ARM64", "x86")),
)
IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Machine:
    """One platform with one Python, as markers see it. Each is made once: it is equal to itself alone."""

    variables: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        of = dict(self.variables)
        return "{platform_python_implementation} {python_full_version} on {sys_platform} {platform_machine}".format(
            **of
        )


def machines() -> Iterator[Machine]:
    """Every combination that a marker can tell apart."""
    for python, (system, named, kind, processors), (name, label) in product(PYTHONS, PLATFORMS, IMPLEMENTATIONS):
        for processor in processors:
            variables = {
                "python_version": ".".join(python.split(".")[:2]),
                "python_full_version": python,
                "implementation_version": python,
                "implementation_name": name,
                "platform_python_implementation": label,
                "sys_platform": system,
                "platform_system": named,
                "os_name": kind,
                "platform_machine": processor,
                "platform_release": "",
                "platform_version": "",
            }
            yield Machine(variables=tuple(variables.items()))


ALL_MACHINES = tuple(machines())


@cache
def _holds(marker: str, machine: Machine, extra: str) -> bool:
    return _marker(marker).evaluate({**dict(machine.variables), "extra": extra})


def holds(marker: Marker | None, machine: Machine, extras: Iterable[str] = ()) -> bool:
    """Whether a marker is true there, for a package asked for with these extras."""
    return marker is None or any(_holds(str(marker), machine, extra) for extra in ("", *extras))


def lacking(entries: list[Locked], metadata: Metadata, ours: Iterable[str] = ()) -> list[str]:
    """One line per dependency that is not locked as it is asked for; `ours` is what the project itself requires."""
    needs: list[tuple[str, Marker | None, frozenset[str], Requirement]]
    needs = [(OURS, None, frozenset(), _read(line)) for line in ours]
    needs += [
        (entry.pin, entry.marker, entry.extras, _read(line)) for entry in entries for line in _required(entry, metadata)
    ]
    releases: dict[str, list[Locked]] = {}
    for entry in entries:
        releases.setdefault(entry.name, []).append(entry)
    found: dict[str, Machine] = {}
    for who, where, extras, need in needs:
        of_it = releases.get(canonicalize_name(need.name), [])
        # Without a marker all machines are one; most dependencies have none.
        differs = where or need.marker or any(entry.marker for entry in of_it)
        for machine in ALL_MACHINES if differs else ALL_MACHINES[:1]:
            asked = holds(where, machine) and holds(need.marker, machine, extras)
            if asked and (problem := _problem(of_it, who, need, machine)):
                found.setdefault(problem, machine)
    return [f"{problem} (on {machine}, for one)" for problem, machine in found.items()]


_read, _marker = cache(Requirement), cache(Marker)


def _required(entry: Locked, metadata: Metadata) -> list[str]:
    """What a package requires; of another release where nothing is known of this one (a problem of its own)."""
    if entry.pin in metadata:
        return metadata[entry.pin]
    return next((lines for pin, lines in metadata.items() if pin.startswith(f"{entry.name}==")), [])


def _problem(releases: list[Locked], who: str, need: Requirement, machine: Machine) -> str:
    """What is wrong with the locked releases of what is needed, on this machine."""
    name, wanted = canonicalize_name(need.name), set(map(canonicalize_name, need.extras))
    there = [entry for entry in releases if holds(entry.marker, machine)]
    shown = f"{name}[{', '.join(sorted(wanted))}]" if wanted else name
    if not there:
        return f"{who} requires {shown}, which is not locked"
    if missing := wanted - {extra for entry in there for extra in entry.extras}:
        return f"{who} requires {shown}, and {there[0].pin} is locked without {', '.join(sorted(missing))}"
    if wanted not in [entry.extras for entry in there]:
        return f"{who} requires {shown}, and {there[0].pin} has no line with exactly these extras"
    if strange := [entry for entry in there if not need.specifier.contains(entry.version, prereleases=True)]:
        return f"{who} requires {shown}{need.specifier}, and {strange[0].version} is locked"
    return ""


def unknown(entries: list[Locked], metadata: Metadata) -> list[str]:
    """One line per locked release whose metadata was not kept, and per one that was kept for nothing."""
    pins = set(extras_by_pin(entries))
    lines = [f"{METADATA.name} does not hold {pin}: run `make lock`" for pin in sorted(pins - set(metadata))]
    return lines + [
        f"{METADATA.name} holds {pin}, which is not locked: run `make lock`" for pin in sorted(set(metadata) - pins)
    ]


def kept_of(requires: Iterable[str], extras: frozenset[str]) -> list[str]:
    """The requirements of a package that can ever apply, with these extras on any of our machines."""
    parsed = [(line, Requirement(line).marker) for line in requires]
    return sorted(line for line, marker in parsed if any(holds(marker, machine, extras) for machine in ALL_MACHINES))


def untrue(entries: list[Locked], metadata: Metadata) -> list[str]:
    """One line per package that is installed here, in the locked version, and whose metadata says something else."""
    found = []
    for pin, extras in extras_by_pin(entries).items():
        name, _, version = pin.partition("==")
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed.version == version and kept_of(installed.requires or [], extras) != metadata.get(pin, []):
            found.append(f"{METADATA.name} does not say what {pin} requires: run `make lock`")
    return found


def project_requirements(group: str | None = None) -> list[str]:
    """What pyproject.toml asks for, with the groups that a group includes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if group is None:
        return list(project["project"]["dependencies"])
    found: list[str] = []
    for line in project["dependency-groups"][group]:
        found += [line] if isinstance(line, str) else project_requirements(line["include-group"])
    return found


def problems() -> list[str]:
    """What is wrong with the lock files of this repository, one line each."""
    metadata = read_metadata()
    production = locked(PRODUCTION.read_text())
    everything = production + locked(DEVELOPMENT.read_text())
    site = locked(DOCS.read_text())
    daytona = locked(DAYTONA.read_text())  # beside the others, in an environment of its own
    ours = project_requirements()
    found = lacking(production, metadata, ours)
    found += [line for line in lacking(everything, metadata, project_requirements("dev")) if line not in found]
    found += lacking(site, metadata, project_requirements("docs"))
    own = {entry.name for entry in daytona}  # some in versions of its own
    beside = [entry for entry in everything if entry.name not in own] + daytona
    found += [line for line in lacking(beside, metadata, project_requirements("daytona")) if line not in found]
    whole = everything + site + daytona
    return found + unknown(whole, metadata) + untrue(whole, metadata)


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or None)
