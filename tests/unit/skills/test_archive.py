"""What a skill's archive may be, and what is refused before anything is unpacked."""

import io
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.clients.skills import archive as skill_archive
from agent_runner.clients.skills.archive import SkillArchiveError, hash_of, pack, read_archive, read_skill_md
from tests.unit.skills.archives import (
    SKILL_MD,
    archive,
    encrypted,
    lying_about_its_size,
    renamed,
    with_entry,
)


def test_a_good_archive_is_read_as_it_is() -> None:
    """Text, front matter, hash of the bytes, files with their mode."""
    data = archive({"scripts/read.sh": "echo", "data/": "", "data/größe.bin": b"\x00\xff"})
    found = read_archive(data)
    assert found.skill_md == SKILL_MD
    assert (found.text.name, found.text.description) == ("Invoices", "Reads invoices. Use it for PDF bills.")
    assert found.text.body.startswith("# Invoices")
    assert found.version_hash == hash_of(data)
    assert {str(path): (content, executable) for path, content, executable in found.files()} == {
        "SKILL.md": (SKILL_MD.encode(), False),
        "scripts/read.sh": (b"echo", True),
        "data/größe.bin": (b"\x00\xff", False),
    }


def test_a_mark_before_the_text_is_no_part_of_it() -> None:
    """Editors on Windows write a byte order mark before UTF-8; the front matter is read nevertheless."""
    found = read_archive(archive(skill_md=SKILL_MD.encode("utf-8-sig")))
    assert (found.skill_md, found.text.name) == (SKILL_MD, "Invoices")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../up", "leads out"),
        ("a/../../up", "leads out"),
        ("a/..", "leads out"),
        ("/etc/passwd", "absolute"),
        ("C:/windows", "absolute"),
        ("a\\..\\b", "backslash"),
        ("a//b", "no plain path"),
        ("./a", "no plain path"),
        ("a/./b", "no plain path"),
        ("a\nb", "control character"),
        ("a\x7f", "control character"),
        ("x" * 300, "too long"),
        ("/".join(["part"] * 300), "too long"),
        ("SKILL.md/inner", "file and a folder"),
    ],
)
def test_names_that_lead_elsewhere(name: str, says: str) -> None:
    """No entry is outside of the archive, wherever it is unpacked."""
    with pytest.raises(SkillArchiveError, match=says):
        read_archive(with_entry(name))


def test_a_name_with_nul() -> None:
    """zipfile cuts a name at NUL: `fine<NUL>/../x` would be `fine`. It is refused."""
    with pytest.raises(SkillArchiveError, match="control character"):
        read_archive(renamed(with_entry("fine-name"), b"fine-name", b"fine\0name"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices(kind: int) -> None:
    """Only files and folders."""
    with pytest.raises(SkillArchiveError, match=r"link|neither"):
        read_archive(with_entry("entry", mode=kind | 0o777, content="/etc/passwd"))


def test_the_same_name_twice() -> None:
    """Which one counts would depend on who unpacks it."""
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = with_entry("SKILL.md", content="# other")
    with pytest.raises(SkillArchiveError, match="twice"):
        read_archive(twice)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a zip"),
        (b"PK\x03\x04 nonsense", "not a zip"),
        (archive()[:-30], "not a zip"),
        (archive({"README.md": "x"}, skill_md=None), "SKILL.md is missing"),
        (archive({"invoices/SKILL.md": "x"}, skill_md=None), "pack the folder's content"),
        (archive(skill_md=b"\xff\xfe"), "not UTF-8"),
        (archive(skill_md=" \n"), "empty"),
        (archive(skill_md="a\0b"), "not text"),
        (archive(skill_md="---\n: [\n---\n"), "not YAML"),
        (archive(skill_md="---\njust text\n---\n"), "mapping"),
        (archive(skill_md="".join(f"{n}\n" for n in range(100_000))), "at most 524288"),
        (encrypted(), "encrypted"),
        (archive({"bomb": b"0" * (4 << 20)}), "times as large"),
        (lying_about_its_size(archive(), 4), "not a zip"),
        (lying_about_its_size(archive(), 0xFFFFFFF0), "unpacked it has"),
    ],
)
def test_what_cannot_be_used(data: bytes, says: str) -> None:
    """Each is refused with a text that says why."""
    with pytest.raises(SkillArchiveError, match=says):
        read_archive(data)


def test_a_flipped_byte_is_noticed() -> None:
    """The checksums of all files are compared, not only that of SKILL.md."""
    data = archive({"data.bin": b"\x01\x02\x03\x04 incompressible?"})
    at = data.index(b"data.bin") + len("data.bin") + 4
    with pytest.raises(SkillArchiveError, match="not a zip"):
        read_archive(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the archive, what it unpacks to, and the number of its entries."""
    data = archive({f"f{n}": f"content {n}" for n in range(9)})
    for name, limit, says in (
        ("MAX_ARCHIVE_BYTES", len(data) - 1, "archive has"),
        ("MAX_UNPACKED_BYTES", 100, "unpacked"),
        ("MAX_ENTRIES", 9, "10 entries"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(skill_archive, name, limit)
            with pytest.raises(SkillArchiveError, match=says):
                read_archive(data)
    read_archive(data)


def test_other_methods_of_packing() -> None:
    """Only what every unzip can read."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("SKILL.md", "# x")
    with pytest.raises(SkillArchiveError, match="deflate"):
        read_archive(file.getvalue())


def test_a_text_is_always_the_same_archive() -> None:
    """The same SKILL.md has the same hash today and tomorrow."""
    assert pack("# Reading ✓") == pack("# Reading ✓")
    assert read_archive(pack("# Reading ✓")).skill_md == "# Reading ✓"


@pytest.mark.parametrize(
    ("text", "name", "description"),
    [
        ("# Title\n\nDoes\nthings.\n\nMore.", "", "Does things."),
        ("---\nname: a\ndescription: >\n  b\n  c\n---\nBody", "a", "b c"),
        ("\ufeff---\r\nname: a\r\ndescription: d\r\n---\r\nBody", "a", "d"),
        ("---\nname: 7\n---\n# T\n\nBody", "", "Body"),
        ("---\n---\nBody", "", "Body"),
        ("---\nnot closed", "", "--- not closed"),
        ("x" * 2000, "", "x" * 1021 + "..."),
    ],
)
def test_front_matter(text: str, name: str, description: str) -> None:
    """Name and description are single lines of bounded length; without front matter the first paragraph describes."""
    found = read_skill_md(text)
    assert (found.name, found.description) == (name, description)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_do_anything_else(noise: bytes, at: int) -> None:
    """Whatever is sent is either an archive or a SkillArchiveError."""
    data = archive({"scripts/read.sh": "echo"})
    for given_bytes in (noise, data[:at] + noise, data[:at] + noise + data[at + len(noise) :]):
        try:
            found = read_archive(given_bytes)
        except SkillArchiveError:
            continue
        for path, _, _ in found.files():
            assert not path.is_absolute()
            assert ".." not in path.parts
