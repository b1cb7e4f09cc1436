"""An approval that langchain's middleware asks for within a sub-agent."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.status.questions import AnswerError
from tests.unit.engine.test_answers import Talk, questions
from tests.unit.engine.world import make_world
from tests.unit.models.settings import SomeSettings

SOURCE = """
from deepagents import create_deep_agent
from langchain_core.tools import tool

from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said

@tool
def pay(to: str) -> str:
    "Pay somebody."
    return f"paid {to}"

task = ("t1", "task", {"description": "pay Ann", "subagent_type": "payer"})
boss = ScriptedModel(reply=in_turn(said("", task), said("Done.")))
payer = ScriptedModel(reply=in_turn(said("", ("p1", "pay", {"to": "Ann"})), said("It is paid.")))
graph = create_deep_agent(model=boss, subagents=[{
    "name": "payer", "description": "pays", "system_prompt": "Pay.", "model": payer, "tools": [pay],
    "interrupt_on": {"pay": {"allowed_decisions": ["approve", "reject"]}},
}])
"""


async def test_a_sub_agent_asks_and_goes_on(tmp_path: Path) -> None:
    """The question says which sub-agent asks and which call; refused words change nothing; then the call runs once."""
    (tmp_path / "sub_asks.py").write_text(SOURCE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"g": "./sub_asks.py:graph"}}))
    async with make_world(tmp_path, replace(SomeSettings(), graphs=tmp_path / "langgraph.json")) as world:
        talk = Talk(world, "g")
        asked = await talk.say(message="pay Ann")
        (question,) = questions(asked)
        assert question["scope"] == "t1"
        assert question["expects"]["actions"] == [{"name": "pay", "allowed": ["approve", "reject"]}]
        assert {c["status"] for c in asked.status["tool_calls"]} == {"TOOL_CALL_PENDING"}
        with pytest.raises(AnswerError, match="approve or reject"):
            await talk.say(message="perhaps")
        done = await talk.say(message="approve")
        assert done.error is None
        assert done.call("p1")["result"] == "paid Ann"
        assert done.texts() == ["Done."]
