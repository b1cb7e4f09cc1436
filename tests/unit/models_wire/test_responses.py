"""OpenAI's Responses API by the real client, which some models speak by themselves: what a user sees of each answer."""

from typing import Any

import pytest

from agent_runner.clients.models.providers import openai_model
from tests.unit.models_wire.scenes import NO_REASON, OVERLOADED, Scenario, Scene, call, one, then_done
from tests.unit.models_wire.scenes_refused import LIMIT, LONG, SHORT
from tests.unit.models_wire.server import serving
from tests.unit.models_wire.told import told

ERROR = {"code": "server_error", "message": "Something went wrong on our side"}
SLOW_DOWN = {"code": "rate_limit_exceeded", "message": "Slow down"}
TWO = (call(), call('{"line": "second"}', id="call_2", index=1))
SCENARIOS: dict[str, Scenario] = {
    "whole": one(Scene(words="A whole answer.")),
    "thinking": one(Scene(thought="Two and two.", words="It is 4.")),
    "two calls": then_done(Scene(pieces=TWO)),
    "call with thoughts": then_done(Scene(thought="I note it.", pieces=(call(),))),
    "no JSON": then_done(Scene(pieces=(call('{"line": fir]] '),))),
    "out of tokens": one(Scene(words="Half an", reason="max_output_tokens")),
    "call out of tokens": then_done(Scene(pieces=(call('{"line": "fi'),), reason="max_output_tokens")),
    "filtered": one(Scene(words="Half an", reason="content_filter")),
    "refused": one(Scene(refusal="I can't help with that.")),
    "no end": one(Scene(words="Half an", reason=NO_REASON)),
    "connection lost": one(Scene(words="Half an", drop=True)),
    "call, connection lost": then_done(Scene(pieces=(call('{"line": "fi'),), drop=True, reason=NO_REASON)),
    "nothing, once": then_done(Scene(silent=True)),
    "nothing, always": one(Scene(silent=True)),
    "failed in the middle": one(Scene(words="Half an", error=ERROR)),
    "failed first, once": then_done(Scene(error=ERROR)),
    "an error event": one(Scene(error=SLOW_DOWN, raw=({},))),
    "asked to wait three minutes": one(Scene(status=429, headers=LONG, error=LIMIT)),
    "overloaded, once": then_done(Scene(status=529, headers=SHORT, error=OVERLOADED)),
}
BROKE_OFF = "❌ Error: Execution failed: the model's answer broke off"
DOWN = "❌ Error: Execution failed: the model provider failed on its side: Something went wrong on our side"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_runner.clients.models.whole.PAUSE_S", 0.0)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


async def seen(name: str) -> tuple[dict[str, Any], list[str], int]:
    """What a user sees, the calls that ran, and how often the model was asked."""
    ran: list[str] = []
    async with serving({name: SCENARIOS[name]}) as server:
        model = openai_model(model=name, api_key="k", base_url=f"{server.url}/v1", use_responses_api=True)
        return await told(model, ran), ran, server.asked[name]


@pytest.mark.parametrize(
    ("name", "text", "ran", "requests"),
    [
        ("whole", "A whole answer.", [], 1),
        ("thinking", "It is 4.", [], 1),
        ("two calls", "All is done.", ["first; second", "second"], 2),
        ("call with thoughts", "All is done.", ["first; second"], 2),
        ("no JSON", "All is done.", [], 2),
        ("call out of tokens", "All is done.", [], 2),
        ("call, connection lost", "All is done.", [], 2),
        ("nothing, once", "All is done.", [], 2),
        ("failed first, once", "All is done.", [], 2),
        ("overloaded, once", "All is done.", [], 2),
    ],
)
async def test_what_ends_well(name: str, text: str, ran: list[str], requests: int) -> None:
    """COMPLETED with the answer; calls that were cut off or are no JSON did not run; tokens are counted once each."""
    looks, called, asked = await seen(name)
    assert looks["phase"] == "COMPLETED", looks
    assert (looks["messages"][-1]["text"], sorted(called), asked) == (text, ran, requests)
    assert "incomplete" not in looks
    assert looks["usage"]["output_tokens"] % 10 == 0
    assert {c["status"] for c in looks.get("calls", ())} <= {"TOOL_CALL_COMPLETED" if ran else "TOOL_CALL_FAILED"}
    if name == "thinking":
        assert looks["messages"][-1]["reasoning"] == "Two and two."


@pytest.mark.parametrize(
    ("name", "reason"),
    [("out of tokens", "max_output_tokens"), ("filtered", "content_filter"), ("refused", "refusal")],
)
async def test_what_is_less_than_whole(name: str, reason: str) -> None:
    """COMPLETED, and the status says that it is no whole answer, and why."""
    looks, _, _ = await seen(name)
    assert (looks["phase"], looks["incomplete"]["reason"]) == ("COMPLETED", reason), looks


@pytest.mark.parametrize(
    ("name", "error", "requests"),
    [
        ("no end", BROKE_OFF, 1),
        ("connection lost", BROKE_OFF, 1),
        ("nothing, always", "❌ Error: Execution failed: the model's answer is empty", 3),
        ("failed in the middle", DOWN, 1),
        ("an error event", "❌ Error: Execution failed: the model provider's rate limit or quota was reached", 3),
        ("asked to wait three minutes", "❌ Error: Execution failed: the model provider's rate limit or quota", 1),
    ],
)
async def test_what_fails(name: str, error: str, requests: int) -> None:
    """FAILED with the cause and a next step; what was said is kept."""
    looks, _, asked = await seen(name)
    assert looks["phase"] == "FAILED", looks
    assert looks["error"].startswith(error)
    assert looks["next_step"]
    assert asked == requests
    if SCENARIOS[name].scenes[0].words:
        assert looks["messages"][0]["text"].strip() == "Half an"
