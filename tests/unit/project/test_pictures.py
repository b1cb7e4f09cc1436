"""The pictures of the documentation: what the terminal showed is what the recording shows, and all are small."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from checks.markdown import links
from checks.tree import ROOT, files
from docs.pictures import __main__ as pictures
from docs.pictures.film import LAST_S, Frame, frames, svg
from docs.pictures.terminal import COLUMNS, ROWS, Piece, Screen, record


def seen(*pieces: str) -> list[str]:
    """The rows as text."""
    screen = Screen()
    for piece in pieces:
        screen.write(piece)
    return ["".join(character for character, _ in row) for row in screen.seen()]


def test_what_was_erased_is_not_seen() -> None:
    """A display that goes up, erases and writes anew leaves only what it wrote last."""
    assert seen("kept\r\n", "\x1b[1mone\x1b[0m\r\ntwo", "\r\x1b[2K\x1b[1A\x1b[2K", "three\r\n") == ["kept", "three"]


def test_a_code_may_come_in_two_pieces() -> None:
    """Wherever a program's words are cut, the same is seen."""
    said = "kept\r\n\x1b[1;36mone\x1b[0m\r\ntwo\r\x1b[2K\x1b[1A\x1b[2K\x1b[?25lthree\r\n"
    assert {tuple(seen(said[:at], said[at:])) for at in range(len(said))} == {("kept", "three")}


def test_a_long_line_goes_on_below_and_the_last_rows_are_seen() -> None:
    """A terminal breaks lines at its width and scrolls."""
    assert seen("a" * (COLUMNS + 1)) == ["a" * COLUMNS, "a"]
    assert seen("".join(f"{n}\r\n" for n in range(ROWS + 5))) == [str(n) for n in range(5, ROWS + 5)]


def test_a_code_that_is_not_known_is_refused() -> None:
    """No code is taken for text or passed over: the recording would show what nobody saw."""
    for code in ("\x1b[5H", "\x1b]0;title"):
        with pytest.raises(ValueError, match="does not know the code"):
            seen(code)


def test_a_command_is_recorded_as_it_writes(tmp_path: Path) -> None:
    """The command writes to a terminal of our size, and each piece comes with its time; a failure is one here."""
    code = "import os; print(os.isatty(1), os.get_terminal_size().columns, '\\u2713')"
    pieces = record([sys.executable, "-c", code], cwd=tmp_path, env={})
    assert seen(*(piece.text for piece in pieces)) == [f"True {COLUMNS} ✓"]
    assert pieces[0].at == 0
    with pytest.raises(subprocess.CalledProcessError):
        record([sys.executable, "-c", "print(1); exit(3)"], cwd=tmp_path, env={})


def test_a_film_holds_each_row_once_and_ends_with_the_last_frame() -> None:
    """Changes that follow at once are one frame, a long wait is cut, a row that stays is not written again."""
    pieces = [
        Piece(at=0, text="<stays> & stays\r\n"),
        Piece(at=0.01, text="first"),
        Piece(at=30, text="\r\x1b[2K\x1b[33mlast\x1b[0m"),
    ]
    shown = frames(pieces)
    assert [round(frame.lasts, 2) for frame in shown] == [1.2, LAST_S]
    tree = ElementTree.fromstring(svg("a & b", shown))
    texts = ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["<stays> & stays", "first", "last"]
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}use"))) == 4


def test_a_film_of_one_frame_stands_still() -> None:
    """A command that writes once is a picture."""
    assert len(frames([Piece(at=0, text="done")])) == 1
    assert "done" in svg("t", [Frame(rows=[[("done", ())]], lasts=1)])


def test_every_picture_is_small_and_shown() -> None:
    """Each file in docs/images is below the limit, and a document shows it."""
    shown = {(page.parent / link).resolve() for page in files(".md") for link in links(page.read_text())}
    images = sorted(pictures.IMAGES.iterdir())
    assert images
    assert [image.name for image in images if image.stat().st_size > pictures.LARGEST or image not in shown] == []
    assert pictures.IMAGES.is_relative_to(ROOT)
