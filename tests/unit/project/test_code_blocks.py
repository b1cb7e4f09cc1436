"""Every code block of the documents is one that works: parsed by what reads it, with commands and names that exist.

Four guides are also done word by word: `integration/test_getting_started.py`, `integration/test_guides.py` and
`front_ends/test_front_ends_guide.py`.
"""

import ast
import importlib
import json
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from agent_runner.app.cli.main import cli
from checks.tree import ROOT, files

BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:agent-runner|make) [a-z][^`\n]*)`")
NOT_RUN = {
    "text": "layouts, examples of output, lines of a Procfile: nothing reads them",
    "mermaid": "drawn by the site and by GitHub; the one that there is comes from the table of transitions",
    "markdown": "a template for people",
    "ini": "a unit of systemd, which is not on every machine",
}
"""Languages that no test reads, and why."""
SHELLS = [name for name in ("bash", "zsh") if shutil.which(name)]


@dataclass(frozen=True)
class Block:
    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    return [path for path in files(".md") if "tests" not in path.parts and "findings" not in path.parts]


def all_blocks() -> Iterator[Block]:
    for path in documents():
        text = path.read_text()
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(path, line, found[2], textwrap.dedent(found[3]))


BLOCKS = list(all_blocks())


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    assert chosen, languages
    return pytest.mark.parametrize("block", chosen, ids=str)


def script(block: Block) -> str:
    """What is typed: in a `console` block the lines after `$`, with those that continue them."""
    if block.language != "console":
        return block.text
    typed, goes_on = [], False
    for line in block.text.splitlines():
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    assert typed, f"{block}: nothing is typed"
    return "\n".join(typed)


def test_each_language_has_a_reader() -> None:
    """A block says what it is; what no test reads is named with its reason."""
    read = {"sh", "console", "python", "json", "yaml", "javascript", "html"}
    assert {block.language for block in BLOCKS} - read - NOT_RUN.keys() == set()
    assert not read & NOT_RUN.keys()


@of("sh", "console")
def test_shell(block: Block) -> None:
    """The shells that are here take it; every `agent-runner` and `make` in it has that command and those options."""
    for shell in SHELLS:
        done = subprocess.run([shell, "-n"], input=script(block), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block
    assert list(unknown(script(block).replace("\\\n", " "))) == [], block
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|(^|\s)#.*$", " ", script(block), flags=re.MULTILINE)
    assert re.findall(r"\S*[?\[]\S*", bare) == [], f"{block}: zsh takes this for a pattern: quote it"


def test_commands_between_the_words() -> None:
    """`agent-runner ...` and `make ...` in running text name commands, options and targets that exist."""
    wrong = [
        f"{path.relative_to(ROOT)}: {command}: {what}"
        for path in documents()
        for command in INLINE.findall(path.read_text())
        for what in unknown(command)
    ]
    assert wrong == []


def unknown(text: str) -> Iterator[str]:
    """What is called and does not exist: commands, options, targets."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lexer = shlex.shlex(re.sub(r"(^|\s)#.*$", r"\1", text, flags=re.MULTILINE), posix=True, punctuation_chars=True)
    lexer.whitespace, lexer.commenters = " \t\r", ""
    words = [word for part in lexer for word in (["\n"] if not part.strip("\n") else [part])]
    for at, word in enumerate(words):
        first = at == 0 or ends(words[at - 1]) or words[at - 1].endswith("$") or "=" in words[at - 1]
        if word not in ("agent-runner", "make") or not first:
            continue
        end = next((n for n in range(at + 1, len(words)) if ends(words[n])), len(words))
        rest = words[at + 1 : end]
        if word == "agent-runner":
            yield from unknown_options(cli, rest)
        else:
            yield from (name for name in rest if re.fullmatch(r"[a-z][a-z-]*", name) and name not in targets)


def ends(word: str) -> bool:
    """Whether a command ends here."""
    return not word.strip("|&;<>()\n")


def unknown_options(command: click.Command, words: list[str]) -> Iterator[str]:
    options = {
        name for one in command.params if isinstance(one, click.Option) for name in (*one.opts, *one.secondary_opts)
    }
    values = {
        name
        for one in command.params
        if isinstance(one, click.Option) and not (one.is_flag or one.count)
        for name in one.opts
    }
    known = options | {"--help"}
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return
        name = word.partition("=")[0]
        if name.startswith("-") and len(name) > 1:
            if name not in known:
                yield f"{command.name} {name}"
            if name in values and "=" not in word and left:
                left.pop(0)
        elif isinstance(command, click.Group):
            if not re.fullmatch(r"[a-z-]+", word):
                return  # `agent-runner COMMAND`, `agent-runner ...`
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                yield f"{command.name} {word}"
                return
            yield from unknown_options(inner, left)
            return


@of("python")
def test_python(block: Block) -> None:
    """It compiles, and whatever it imports is there."""
    tree = compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    assert isinstance(tree, ast.Module)
    compile(tree, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@of("json")
def test_json(block: Block) -> None:
    """One value, or one on each line."""
    try:
        json.loads(block.text)
    except ValueError:
        assert [json.loads(line) for line in block.text.splitlines()]


@of("yaml")
def test_yaml(block: Block) -> None:
    """It is data; a document of ours, not of Kubernetes, has its version and a name."""
    for document in yaml.safe_load_all(block.text):
        assert isinstance(document, dict | list)
        if isinstance(document, dict) and "kind" in document and "apiVersion" not in document:
            assert document["api_version"] == "agentic.stigmer.ai/v1"
            assert document["metadata"]["name"]


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
@of("javascript", "html")
def test_javascript(block: Block, tmp_path: Path) -> None:
    """Node can read it; of a page, its scripts."""
    scripts = [block.text]
    if block.language == "html":
        scripts = re.findall(r"<script>\n(.*?)</script>", block.text, re.DOTALL)
    assert scripts
    for text in scripts:
        (tmp_path / "block.mjs").write_text(text)
        done = subprocess.run(
            ["node", "--check", "block.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_check_finds_what_is_wrong() -> None:
    """A command, an option and a target that do not exist, wherever they stand in a line."""
    said = "X=1 agent-runner rn hi; agent-runner run --nonsense hi | cat\nmake nothing && agent-runner executions lst"
    assert list(unknown(said)) == ["cli rn", "run --nonsense", "nothing", "executions lst"]
    assert list(unknown("agent-runner run --server http://x --json '$ ls' > a.json; make test ARGS='-k a'")) == []
