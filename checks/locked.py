"""What a lock file names, and what the packages in it say they need.

The lock files hold exact versions; `requirements-metadata.json` holds what the metadata of each of them requires, also
of those that are installed on other platforms only. Both are written by `make lock`: the check needs no network.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from checks.tree import ROOT

PRODUCTION = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "requirements-dev.lock"
BUILD = ROOT / "requirements-build.lock"
DOCS = ROOT / "requirements-docs.lock"
DAYTONA = ROOT / "requirements-daytona.lock"
GRAPHTON = ROOT / "requirements-graphton.lock"
METADATA = ROOT / "requirements-metadata.json"

# A block of a lock file: the requirement, and the hashes and comments that are indented below it.
_BLOCK = re.compile(r"^[A-Za-z0-9].*\n(?:[ \t#].*\n)*", re.MULTILINE)

# name==version: what its metadata requires, as written there; nothing of extras that are not locked.
Metadata = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One requirement of a lock file."""

    name: str
    version: str
    extras: frozenset[str] = frozenset()
    marker: Marker | None = None

    @property
    def pin(self) -> str:
        """The name and the version, as `requirements-metadata.json` names it."""
        return f"{self.name}=={self.version}"


def blocks(text: str) -> Iterator[str]:
    """The requirements of a lock file, each with its hashes and comments."""
    yield from _BLOCK.findall(text if text.endswith("\n") else text + "\n")


def requirement_of(block: str) -> str:
    """The requirement of a block, without hashes, comments and the sign of continuation."""
    return re.split(r"\s+(?:--hash|#|\\)", block.splitlines()[0] + " \\", maxsplit=1)[0].strip()


def locked(*texts: str) -> list[Locked]:
    """What lock files name, in their order. ValueError where a line is no exact version."""
    found = []
    for block in (block for text in texts for block in blocks(text)):
        try:
            asked = Requirement(requirement_of(block))
        except InvalidRequirement as error:
            raise ValueError(f"{requirement_of(block)!r} is no requirement: {error}") from None
        exact = [clause.version for clause in asked.specifier if clause.operator == "=="]
        if len(exact) != 1:
            raise ValueError(f"{asked} is not locked to one version")
        found.append(
            Locked(
                name=canonicalize_name(asked.name),
                version=exact[0],
                extras=frozenset(map(canonicalize_name, asked.extras)),
                marker=asked.marker,
            )
        )
    return found


def extras_by_pin(entries: Iterable[Locked]) -> dict[str, frozenset[str]]:
    """Each locked release once, with all the extras that it is locked with anywhere."""
    found: dict[str, frozenset[str]] = {}
    for entry in entries:
        found[entry.pin] = found.get(entry.pin, frozenset()) | entry.extras
    return found


def read_metadata(path: Path = METADATA) -> dict[str, list[str]]:
    """What `make lock` kept."""
    kept: dict[str, list[str]] = json.loads(path.read_text())
    return kept
