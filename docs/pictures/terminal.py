"""A command in a terminal of a fixed size: what it wrote and when, and what a viewer saw after each piece."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

COLUMNS, ROWS = 100, 28
# Cursor up, erase the line, colours and weights; what only switches the cursor on and off shows nothing.
_CODE = re.compile(r"\x1b\[(\?)?([\d;]*)([A-Za-z])")
_BEGUN = re.compile(r"\x1b(?:\[[?\d;]*)?$")

# The numbers of SGR that are in force: 1 bold, 2 dim, 30 to 37 colours.
Style = tuple[int, ...]
Row = list[tuple[str, Style]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Something that was written at once. `at`: seconds since the first piece."""

    at: float
    text: str


def record(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> list[Piece]:
    """Runs a command in a terminal and returns what it wrote. CalledProcessError where it did not succeed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, cwd=cwd, env={**env, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    pieces: list[tuple[float, bytes]] = []
    try:
        while written := os.read(ours, 65536):
            pieces.append((time.monotonic(), written))
    except OSError:
        pass  # the other end was closed: the command has ended
    finally:
        os.close(ours)
    if code := process.wait():
        raise subprocess.CalledProcessError(code, list(command), b"".join(written for _, written in pieces))
    return _decoded(pieces)


def _decoded(pieces: list[tuple[float, bytes]]) -> list[Piece]:
    """A character whose bytes came in two pieces belongs to the later one."""
    found, rest = [], b""
    for at, written in pieces:
        rest += written
        try:
            text, rest = rest.decode(), b""
        except UnicodeDecodeError as error:
            text, rest = rest[: error.start].decode(), rest[error.start :]
        found.append(Piece(at=at - pieces[0][0], text=text))
    return found


@dataclass(slots=True)
class Screen:
    """As much of a terminal as our command line uses. ValueError for a code that it does not know."""

    rows: list[Row] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: Style = ()
    begun: str = ""
    """A code whose end comes with the next piece."""

    def write(self, text: str) -> None:
        """Shows a piece of text, with its codes."""
        text = self.begun + text
        self.begun = found[0] if (found := _BEGUN.search(text)) else ""
        text = text.removesuffix(self.begun)
        at = 0
        for code in _CODE.finditer(text):
            self._put(text[at : code.start()])
            if not code[1]:
                self._obey(code[2], code[3])
            at = code.end()
        self._put(text[at:])

    def seen(self) -> list[Row]:
        """The rows that a viewer sees: the last ones, without empty ones at the end."""
        end = len(self.rows)
        while end > 1 and not self.rows[end - 1]:
            end -= 1
        return [list(row) for row in self.rows[max(end - ROWS, 0) : end]]

    def _obey(self, numbers: str, letter: str) -> None:
        values = [int(number or 0) for number in numbers.split(";")]
        if letter == "m":
            for value in values:
                self.style = () if value == 0 else (*self.style, value)
        elif letter == "A":
            self.row = max(self.row - (values[0] or 1), 0)
        elif letter == "K" and values == [2]:
            self.rows[self.row] = []
        else:
            raise ValueError(f"the terminal does not know the code {numbers}{letter}")

    def _put(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self._next_row()
            elif character == "\x1b":
                raise ValueError(f"the terminal does not know the code {text!r}")
            else:
                if self.column == COLUMNS:
                    self._next_row()
                    self.column = 0
                row = self.rows[self.row]
                row += [(" ", ())] * (self.column - len(row))
                row[self.column : self.column + 1] = [(character, self.style)]
                self.column += 1

    def _next_row(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])
