"""Every code block of the documents is one that works: parsed by what reads it, with commands and names that exist.

Nearly all are also done: the guides of `WHOLE` word by word, others by `integration/test_blocks.py`, the rest is named.
"""

import ast
import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from agent_runner.app.cli.main import cli
from checks.tree import ROOT
from tests.integration import test_blocks
from tests.support.code_blocks import Block, blocks_of, documents

INLINE = re.compile(r"`((?:agent-runner|make) [a-z][^`\n]*)`")
NOT_RUN = {
    "text": "layouts, examples of output, lines of a Procfile: nothing reads them",
    "mermaid": "drawn by the site and by GitHub; the one that there is comes from the table of transitions",
    "markdown": "a template for people",
    "jsx": "a component of a page: only a bundler reads it",
    "ini": "a unit of systemd, which is not on every machine",
}
"""Languages that no test reads, and why."""
WHOLE = {
    "docs/guides/getting-started.md": "integration/test_getting_started.py",
    "docs/guides/your-own-graphs.md": "integration/test_guides.py",
    "docs/guides/people-who-answer.md": "integration/test_guides.py",
    "docs/guides/front-ends.md": "front_ends/test_front_ends_guide.py",
    "docs/guides/everything-at-once.md": "integration/test_everything_at_once.py",
}
"""Guides of which a test does each block, and fails at a new one."""
IS_WHAT_RUNS = "it is what a test run is made with, or a run of minutes; `make` says the same targets"
NEEDS_MORE = "needs what no machine of ours has"
LEFT = {
    ("CONTRIBUTING.md", "make setup"):
        IS_WHAT_RUNS,
    ("README.md", "make run"):
        "`make run` has a test of its own, `integration/test_getting_started.py`; `make test` runs it",
    ("docs/guides/agent-server.md", "AGENT_RUNNER_GRAPHS="):
        "starts a stack and stays; `getting-started.md` does the same",
    ("docs/guides/benchmarks.md", "make bench"):
        IS_WHAT_RUNS,
    ("docs/guides/compatible-reporting.md", "app.send_task("):
        "`integration/test_compatible.py` sends that message",
    ("docs/guides/deploying.md", "cat > .env"):
        f"{NEEDS_MORE}: a registry; `surroundings/test_image.py` runs the image",
    ("docs/guides/kubernetes.md", "kubectl apply"):
        f"{NEEDS_MORE}: a cluster; `test_kubernetes.py` checks the manifests",
    ("docs/guides/sandbox.md", "pip install"):
        f"{NEEDS_MORE}: an account; the contract suite asks a Daytona for tests",
    ("docs/guides/sandbox.md", "[project.entry"):
        "of a package of the user; `unit/sandbox_kinds` adds such a kind",
    ("docs/guides/security.md", "STIGMER_API_KEY=ark_"):
        "starts a worker and stays; `integration/test_runner_key.py` does it",
    ("docs/guides/testing.md", "make test"):
        IS_WHAT_RUNS,
    ("docs/guides/testing.md", "make fuzz"):
        IS_WHAT_RUNS,
    ("docs/guides/copilotkit.md", "npm install"):
        f"{NEEDS_MORE}: an index of npm; `front_ends/test_copilotkit.py` has the locked packages",
    ("docs/guides/copilotkit.md", "// copilot.mjs"):
        "`front_ends/test_copilotkit.py` runs such a runtime",
    ("docs/guides/engines.md", "python3 -m venv"):
        "an environment of its own, which stays; `unit/engine/test_engines.py` asks both engines",
    ("docs/guides/sandbox.md", "from pathlib"):
        "of a package of the user; `integration/test_kinds_of_sandboxes.py` runs such a kind",
    ("docs/guides/traces.md", "pip install"):
        f"{NEEDS_MORE}: a collector; `integration/test_traces.py` has one of its own",
    ("docs/guides/traces.md", "export LANGSMITH_TRACING"):
        f"{NEEDS_MORE}: an account; `integration/test_langsmith.py`",
    ("docs/guides/webhooks.md", "curl -H"):
        f"{NEEDS_MORE}: a receiver; `integration/test_webhooks.py` has one",
    ("docs/guides/webhooks.md", '{"delivery_id"'):
        "what a receiver gets; `integration/test_webhooks.py` is one",
}  # fmt: skip
"""Blocks that no test does, by document and beginning, and why. A new one is done instead."""
MOST_LEFT = 20
SHELLS = [name for name in ("bash", "zsh") if shutil.which(name)]


BLOCKS = [block for path in documents() for block in blocks_of(path)]


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    assert chosen, languages
    return pytest.mark.parametrize("block", chosen, ids=str)


def test_each_language_has_a_reader() -> None:
    """A block says what it is; what no test reads is named with its reason."""
    read = {"sh", "console", "python", "json", "yaml", "toml", "javascript", "html", "nginx"}
    assert {block.language for block in BLOCKS} - read - NOT_RUN.keys() == set()
    assert not read & NOT_RUN.keys()


def test_every_block_is_done() -> None:
    """By a test that is named, or it is in the list of those that are left, which only becomes shorter."""
    done = {(doc, begin) for doc, begins in test_blocks.DONE.items() for begin in begins}
    here = [block for block in BLOCKS if block.language not in NOT_RUN and block.document not in WHOLE]
    for document, test in WHOLE.items():
        assert Path(document).name in (ROOT / "tests" / test).read_text()
    for key in [*done, *LEFT]:
        assert len([b for b in here if b.document == key[0] and b.text.startswith(key[1])]) == 1, key
    said = {str(b): [k for k in [*done, *LEFT] if b.document == k[0] and b.text.startswith(k[1])] for b in here}
    assert {block: keys for block, keys in said.items() if len(keys) != 1} == {}
    assert len(LEFT) == MOST_LEFT, "the list may become shorter: lower MOST_LEFT with it"


@of("sh", "console")
def test_shell(block: Block) -> None:
    """The shells that are here take it; every `agent-runner` and `make` in it has that command and those options."""
    for shell in SHELLS:
        done = subprocess.run([shell, "-n"], input=block.typed, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block
    assert list(unknown(block.typed.replace("\\\n", " "))) == [], block
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|(^|\s)#.*$", " ", block.typed, flags=re.MULTILINE)
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


@of("toml")
def test_toml(block: Block) -> None:
    """It is data."""
    assert tomllib.loads(block.text)


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
