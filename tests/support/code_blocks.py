"""The code blocks of the documents."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checks.tree import ROOT, files

BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def document(self) -> str:
        return str(self.file.relative_to(ROOT))

    @property
    def typed(self) -> str:
        """What is typed: in a `console` block the lines after `$`, with those that continue them."""
        if self.language != "console":
            return self.text
        typed, goes_on = [], False
        for line in self.text.splitlines():
            if line.startswith("$ ") or goes_on:
                typed.append(line.removeprefix("$ "))
                goes_on = line.endswith("\\")
        assert typed, f"{self}: nothing is typed"
        return "\n".join(typed)


def documents() -> list[Path]:
    return [path for path in files(".md") if "tests" not in path.parts and "findings" not in path.parts]


def blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(path, line, found[2], textwrap.dedent(found[3]))


def one_block(document: str, beginning: str) -> Block:
    """The one of this document that begins so. AssertionError if there is none, or another."""
    found = [one for one in blocks_of(ROOT / document) if one.text.startswith(beginning)]
    assert len(found) == 1, f"{document}: {len(found)} blocks begin with {beginning!r}"
    return found[0]
