"""Where an error came from: which frames are the user's."""

import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from agent_runner.tasks.run.error_origin import origin_of
from tests.unit.models.settings import SomeSettings


@pytest.mark.parametrize("name", ["stdlib", "purelib"])
def test_a_folder_whose_name_only_begins_like_pythons_is_the_users(name: str) -> None:
    """`/usr/lib/python3.11-agents/graph.py` is no part of `/usr/lib/python3.11`."""
    source = "def plan():\n    import json\n    json.loads('{')\nplan()"
    with pytest.raises(ValueError, match="Expecting") as failed:
        exec(compile(source, f"{sysconfig.get_path(name)}-agents/graph.py", "exec"), {})
    assert origin_of(failed.value)["error_at"].endswith("-agents/graph.py:3 in plan")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def graph(config):\n    raise KeyError('tenant')", ("KeyError", "made.py:2 in graph")),
        (
            "async def graph(config):\n    raise ExceptionGroup('', [KeyError('x')])",
            ("KeyError", "made.py:2 in graph"),
        ),
        ("import json\nimport not_there", ("ModuleNotFoundError", "made.py:2 in <module>")),
    ],
)
async def test_a_graph_that_cannot_be_made_says_where_in_its_file(
    tmp_path: Path, source: str, told: tuple[str, str]
) -> None:
    """Not where this worker noticed it."""
    (tmp_path / "made.py").write_text(source)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"x": "./made.py:graph"}}')
    engine = EngineFactory(replace(SomeSettings(), graphs=tmp_path / "langgraph.json"), None)
    with pytest.raises(GraphError) as failed:
        await engine.graph(Bundle(graph="x"), {})
    origin = origin_of(failed.value)
    assert origin["error_class"] == told[0]
    assert origin["error_at"].endswith(told[1])
