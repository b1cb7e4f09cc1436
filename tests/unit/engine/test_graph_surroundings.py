"""`dependencies` and `env` of langgraph.json, and objects in place of a path, as LangGraph's tools read them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.user_graphs import run_environment
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError, UserGraphs

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph

{imports}
graph = StateGraph(MessagesState).add_node("n", lambda state: {{}}).add_edge(START, "n")
"""


@pytest.fixture
def unique(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A word that is in no module's and no variable's name yet; sys.path and the environment are put back."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(os.environ)
    yield f"of_{uuid4().hex[:10]}"
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def project(folder: Path, imports: str = "", graph: Any = "./graph_file.py:graph", **entries: Any) -> UserGraphs:
    (folder / "graph_file.py").write_text(GRAPH.format(imports=imports))
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"g": graph}, **entries}))
    return UserGraphs(folder / "langgraph.json")


def write(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("dependency", ["./libs", "libs", "./libs/../libs", "../{folder}/libs"])
async def test_a_folder_in_dependencies_can_be_imported_from(tmp_path: Path, unique: str, dependency: str) -> None:
    """With a dot before it or without, as `langgraph dev` has it."""
    write(tmp_path / "libs" / f"{unique}.py", "WORD = 1\n")
    given = dependency.format(folder=tmp_path.name)
    await project(tmp_path, f"from {unique} import WORD", dependencies=[given]).load("g")


@pytest.mark.parametrize("form", ["package", "src", "setup"])
async def test_a_dependency_is_imported_as_if_it_were_installed(tmp_path: Path, unique: str, form: str) -> None:
    """A folder that is a package itself, or a project with its packages in `src`."""
    if form == "package":
        place, dependency = tmp_path / "libs" / unique, f"./libs/{unique}"
    else:
        place, dependency = tmp_path / "libs" / "project" / "src" / unique, "./libs/project"
        write(tmp_path / "libs" / "project" / ("pyproject.toml" if form == "src" else "setup.py"))
    write(place / "__init__.py")
    write(place / "inner.py", "WORD = 1\n")
    await project(tmp_path, f"from {unique}.inner import WORD", dependencies=[dependency]).load("g")


async def test_the_folder_of_the_file_needs_no_naming(tmp_path: Path, unique: str) -> None:
    """Nothing in `dependencies`, and what is beside the file is found."""
    write(tmp_path / f"{unique}.py", "WORD = 1\n")
    await project(tmp_path, f"from {unique} import WORD").load("g")


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"dependencies": ["./nowhere"]}, r"dependencies: \./nowhere is no folder"),
        ({"dependencies": "."}, "dependencies must be a list"),
        ({"dependencies": [{"path": "."}]}, "dependencies must be a list"),
        ({"env": ["A=1"]}, "env must be a file"),
    ],
)
async def test_what_cannot_be_read_is_named(tmp_path: Path, unique: str, entries: Any, told: str) -> None:
    """The entry, and what belongs there."""
    with pytest.raises(GraphError, match=told):
        await project(tmp_path, **entries).load("g")


async def test_a_failed_import_names_what_is_not_installed(tmp_path: Path, unique: str) -> None:
    """Of `dependencies`, by the names that are to be installed; what is installed is not named."""
    lacking = unique.replace("_", "-")
    graphs = project(tmp_path, f"import {unique}", dependencies=[".", f"{lacking}[extra]>=1.0", "langgraph>=0.2"])
    with pytest.raises(
        GraphError, match=rf"No module named '{unique}'\. Of its dependencies .*: {lacking}\[extra\]>=1.0$"
    ):
        await graphs.load("g")


@pytest.mark.parametrize("imports", ["from redis import WORD", "import redis.words"])
async def test_a_library_of_the_name_of_ones_own_module_is_named(tmp_path: Path, unique: str, imports: str) -> None:
    """With both places and what to write instead, which works."""
    write(tmp_path / "redis.py", "WORD = 1")
    with pytest.raises(GraphError, match=r"Its module 'redis' is .*__init__.py, not .*redis.py: .*`from .redis import"):
        await project(tmp_path, imports).load("g")
    await project(tmp_path, "from .redis import WORD").load("g")


@pytest.mark.parametrize("form", ["file", "object"])
async def test_env_reaches_the_code_and_overrides_nothing(
    tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A file with quotes, comments, `export`, `${NAME}` and empty values; an object with numbers and truth values."""
    name = unique.upper()
    monkeypatch.setenv(f"{name}_DEPLOYED", "by the deployment")
    if form == "file":
        write(
            tmp_path / "conf" / "my.env",
            f"# comment\nexport {name}_A='one two' # more\n{name}_DEPLOYED=file\n{name}_EMPTY=\n{name}_NONE\n"
            f"{name}_URL=https://${{{name}_A}}/\n",
        )
        env: Any = "./conf/my.env"
        expected = {"A": "one two", "EMPTY": "", "URL": "https://one two/"}
    else:
        env = {
            f"{name}_A": "one two",
            f"{name}_DEPLOYED": "file",
            f"{name}_N": 5,
            f"{name}_T": True,
            f"{name}_NONE": None,
        }
        expected = {"A": "one two", "N": "5", "T": "true"}
    await project(tmp_path, env=env).load("g")
    found = {key.removeprefix(f"{name}_"): value for key, value in os.environ.items() if key.startswith(name)}
    assert found == expected | {"DEPLOYED": "by the deployment"}


async def test_env_is_the_processes_whoever_runs_first(tmp_path: Path, unique: str) -> None:
    """An execution's own variable hides it for that one alone, and is never woven into it."""
    run_environment.install()
    name = unique.upper()
    write(tmp_path / ".env", f"{name}=default\n{name}_URL=https://${{{name}_SECRET}}@host\n")
    with running(CurrentRun(thread_id="t", env={name: "own", f"{name}_SECRET": "secret of one run"})):
        await project(tmp_path, env=".env").load("g")
        assert os.environ[name] == "own"
    assert (os.environ.get(name), os.environ.get(f"{name}_URL")) == ("default", "https://@host")


async def test_an_env_file_that_is_not_there_is_told(
    tmp_path: Path, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And no more: such a file is seldom where a deployment sets the variables."""
    await project(tmp_path, env=".env").load("g")
    assert "does not exist" in caplog.text


@pytest.mark.parametrize(
    "graph", ["graph_file.py:graph", {"path": "./graph_file.py:graph", "description": "what it does"}]
)
async def test_a_graph_is_a_path_or_an_object_with_one(tmp_path: Path, unique: str, graph: Any) -> None:
    """Other names in the object are for others."""
    assert (await project(tmp_path, graph=graph).load("g")) is not None


async def test_an_object_without_a_path_is_refused(tmp_path: Path, unique: str) -> None:
    """By the graph's name."""
    with pytest.raises(GraphError, match=r"graph 'g' is '', expected '\./file\.py:graph'"):
        await project(tmp_path, graph={"description": "x"}).load("g")
