"""The check that the shipped live page is that of its sources finds what it is there for."""

import shutil
from pathlib import Path

import pytest

from checks.page import BUILT, SOURCES, problems, stamped
from deploy.page import FOLDER, build


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """The sources and the built page, to be changed."""
    sources, built = tmp_path / "page", tmp_path / "index.html"
    shutil.copytree(SOURCES, sources)
    shutil.copy(BUILT, built)
    return sources, built


def test_ours_is_built_of_its_sources(copies: tuple[Path, Path]) -> None:
    """What is shipped, and a copy of it at another place."""
    assert problems() == []
    assert problems(*copies) == []


@pytest.mark.parametrize("change", ["edit", "add", "rename", "remove"])
def test_a_change_of_the_sources_is_seen(copies: tuple[Path, Path], change: str) -> None:
    """Whatever it is: the page was not built of these."""
    sources, built = copies
    file = sources / "src" / "words.ts"
    match change:
        case "edit":
            file.write_text(file.read_text() + "\n")
        case "add":
            (sources / "src" / "more.ts").touch()
        case "rename":
            file.rename(sources / "src" / "texts.ts")
        case _:
            file.unlink()
    assert problems(sources, built) == ["index.html is not the build of the sources in page/: run `make page`"]


def test_a_page_that_was_edited_is_seen(copies: tuple[Path, Path]) -> None:
    """By a hand that changed the built file only; a new stamp makes it whole again."""
    sources, built = copies
    edited = built.read_bytes().replace(b"<title>Agent Runner</title>", b"<title>Agent Walker</title>")
    built.write_bytes(edited)
    assert len(problems(sources, built)) == 1
    built.write_bytes(stamped(sources, edited))
    assert problems(sources, built) == []


def test_a_lock_file_with_addresses_is_refused(copies: tuple[Path, Path]) -> None:
    """It would say from where each package is downloaded."""
    sources, built = copies
    lock = sources / "package-lock.json"
    lock.write_text(lock.read_text().replace('"integrity"', '"resolved": "https://example.org/a.tgz",\n"integrity"', 1))
    built.write_bytes(stamped(sources, built.read_bytes()))
    assert problems(sources, built) == [
        "package-lock.json names where packages are downloaded: npm's omit-lockfile-registry-resolved is off"
    ]


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")
@pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="no packages here: run `make page`")
def test_a_new_build_is_the_shipped_one() -> None:
    """Byte for byte, types checked."""
    assert build(SOURCES, FOLDER) == BUILT.read_bytes()
