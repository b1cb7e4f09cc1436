"""A skill's archive: a zip with SKILL.md at its root. Read before it is stored, and again before it is unpacked.

SKILL.md may begin with front matter, YAML between two lines of three hyphens. An agent gets its `name` and
`description` before it reads the skill. Nothing here trusts the archive: limits and names are checked before anything
is unpacked, and the checksums of all entries are read once.
"""

import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from agent_runner.clients.contract.plain_yaml import read_yaml
from agent_runner.v1 import runner_pb2 as pb

SKILL_MD = "SKILL.md"
MAX_ARCHIVE_BYTES = 32 << 20
"""Half of the message limit of gRPC, so that an archive always fits."""
MAX_UNPACKED_BYTES = 128 << 20
MAX_ENTRIES = 2_000
MAX_RATIO, RATIO_COUNTS_FROM = 100, 256 << 10
"""Unpacked to packed bytes. Below 256 KiB a text of blanks is no bomb."""
MAX_SKILL_MD_BYTES = 512 << 10
MAX_NAME_BYTES, MAX_PART_BYTES = 1_024, 255
MAX_FRONT_MATTER, MAX_TITLE, MAX_DESCRIPTION = 16 << 10, 100, 1_024
"""Characters. What an agent's prompt holds of a skill is bounded, however long the skill is."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time of day that a zip can hold: the same text always gives the same archive."""
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)(?:\n|(?<=\A---\n))---[ \t]*(?:\n|\Z)", re.DOTALL)


class SkillArchiveError(ValueError):
    """The archive cannot be used; the text says why, and names the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillText:
    """The content of SKILL.md. `name` and `description` are one line each, empty if it has none."""

    name: str
    description: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillArchive:
    """An archive that may be unpacked. `version_hash` is the SHA-256 of its bytes."""

    data: bytes
    version_hash: str
    skill_md: str
    text: SkillText

    def files(self) -> Iterator[tuple[PurePosixPath, bytes, bool]]:
        """(path, content, executable) of each file. Paths are relative and stay inside the folder."""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield PurePosixPath(entry.filename), archive.read(entry), bool(entry.external_attr >> 16 & 0o111)


def read_archive(data: bytes) -> SkillArchive:
    """Blocking; reads everything once. Raises SkillArchiveError."""
    if len(data) > MAX_ARCHIVE_BYTES:
        raise SkillArchiveError(f"the archive has {len(data)} bytes; at most {MAX_ARCHIVE_BYTES} are accepted")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_sizes(entries, len(data))
            _check_names(entries)
            skill_md = _skill_md(archive)
            for entry in entries:
                archive.read(entry)  # reading compares the checksum
    except SkillArchiveError:
        raise
    except _BROKEN as error:
        raise SkillArchiveError(f"the archive is not a zip file that can be read: {error}") from None
    return SkillArchive(data=data, version_hash=hash_of(data), skill_md=skill_md, text=read_skill_md(skill_md))


def pack(skill_md: str) -> bytes:
    """The archive of a skill that is only a text; not compressed, so that its bytes do not depend on a library's
    version."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo(SKILL_MD, EPOCH)
        entry.create_system = 3
        entry.external_attr = (stat.S_IFREG | 0o644) << 16
        archive.writestr(entry, skill_md, zipfile.ZIP_STORED)
    return file.getvalue()


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_skill_md(text: str) -> SkillText:
    """Raises SkillArchiveError for front matter that is too long, is not YAML or is no mapping."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = _FRONT_MATTER.match(plain)
    if found is None:
        return SkillText(name="", description=_line(_first_paragraph(plain), MAX_DESCRIPTION), body=plain.strip())
    if len(found[1]) > MAX_FRONT_MATTER:
        raise SkillArchiveError(f"{SKILL_MD}: its front matter is longer than {MAX_FRONT_MATTER} characters")
    try:
        said = read_yaml(found[1]) or {}
    except ValueError as error:
        raise SkillArchiveError(f"{SKILL_MD}: its front matter is not YAML that is taken: {error}") from None
    if not isinstance(said, dict):
        raise SkillArchiveError(f"{SKILL_MD}: its front matter must be a mapping with name and description")
    body = plain[found.end() :].strip()
    name, description = said.get("name"), said.get("description")
    return SkillText(
        name=_line(name if isinstance(name, str) else "", MAX_TITLE),
        description=_line(description if isinstance(description, str) else _first_paragraph(body), MAX_DESCRIPTION),
        body=body,
    )


def _check_sizes(entries: list[zipfile.ZipInfo], packed: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise SkillArchiveError(f"the archive has {len(entries)} entries; at most {MAX_ENTRIES} are accepted")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise SkillArchiveError(f"unpacked it has {unpacked} bytes; at most {MAX_UNPACKED_BYTES} are accepted")
    if unpacked > RATIO_COUNTS_FROM and unpacked > MAX_RATIO * packed:
        raise SkillArchiveError(
            f"unpacked it is {unpacked // max(packed, 1)} times as large; at most {MAX_RATIO} times is accepted"
        )


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    files: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        # zipfile cuts a name at NUL, so the name as it stands in the archive is checked too.
        for name in {entry.filename, entry.orig_filename}:
            if wrong := _wrong_name(name):
                raise SkillArchiveError(f"entry {name[:200]!r} {wrong}")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link" if kind == stat.S_IFLNK else "is neither a file nor a folder"
            raise SkillArchiveError(f"entry {entry.filename!r} {what}")
        if entry.flag_bits & 0x1:
            raise SkillArchiveError(f"entry {entry.filename!r} is encrypted")
        if entry.compress_type not in _METHODS:
            raise SkillArchiveError(f"entry {entry.filename!r} is packed by another method than deflate")
        path = entry.filename.rstrip("/")
        if path in files or (path in folders and not entry.is_dir()):
            raise SkillArchiveError(f"entry {entry.filename!r} is there twice")
        (folders if entry.is_dir() else files).add(path)
        folders.update(str(parent) for parent in PurePosixPath(path).parents)
    if clash := sorted(files & folders):
        raise SkillArchiveError(f"entry {clash[0]!r} is a file and a folder")


def _wrong_name(name: str) -> str:
    path = name.removesuffix("/")
    parts = path.split("/")
    if "\0" in name or "\\" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "has a backslash or a control character in its name"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "has an absolute path"
    if ".." in parts:
        return "leads out of the archive"
    if not path or "" in parts or "." in parts:
        return "has no plain path"
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError:
        return "has a name that is not Unicode text"
    if sum(map(len, encoded)) + len(parts) > MAX_NAME_BYTES or max(map(len, encoded)) > MAX_PART_BYTES:
        return "has too long a name"
    return ""


def _skill_md(archive: zipfile.ZipFile) -> str:
    try:
        entry = archive.getinfo(SKILL_MD)
    except KeyError:
        elsewhere = next((name for name in archive.namelist() if name.rpartition("/")[2] == SKILL_MD), "")
        hint = f"; it is at {elsewhere!r}: pack the folder's content, not the folder" if elsewhere else ""
        raise SkillArchiveError(f"{SKILL_MD} is missing at the root of the archive{hint}") from None
    if entry.file_size > MAX_SKILL_MD_BYTES:
        raise SkillArchiveError(
            f"{SKILL_MD} has {entry.file_size} bytes; at most {MAX_SKILL_MD_BYTES} are accepted."
            " Put details into files beside it"
        )
    try:
        text = archive.read(entry).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SkillArchiveError(f"{SKILL_MD} is not UTF-8 text: {error}") from None
    if not text.strip() or "\0" in text:
        raise SkillArchiveError(f"{SKILL_MD} is empty, or not text")
    return text


def _first_paragraph(text: str) -> str:
    return next((block for block in re.split(r"\n\s*\n", text.strip()) if not block.lstrip().startswith("#")), "")


def _line(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3].rstrip()}..."


def in_folders(skills: Iterable[pb.RunSkill]) -> list[pb.RunSkill]:
    """Each skill once for each agent that uses it; two versions, or two skills of one name, get separate folders."""
    taken: dict[str, str] = {}
    once: dict[tuple[str, str, str], pb.RunSkill] = {}
    for skill in skills:
        if taken.setdefault(skill.folder, skill.version_hash) != skill.version_hash:
            skill.folder = f"{skill.folder}-{skill.version_hash[:12]}"
        once.setdefault((skill.sub_agent, skill.folder, skill.version_hash), skill)
    return list(once.values())
