"""Models that a graph of the user's own makes itself, on real clients, under the handler that refuses cut answers."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.user_graphs.whole_calls import WholeCallsHandler
from agent_runner.clients.models.errors import BrokenStream
from tests.unit.models_wire.scenes import DONE, NO_REASON, Scenario, Scene, call
from tests.unit.models_wire.server import serving


@pytest.mark.parametrize("counts", [True, False], ids=["counted", "uncounted"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
async def test_anthropics_answers_have_a_reason_without_their_counts(
    counts: bool, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stream_usage=False` takes away the token counts only: whole calls run, cut ones are still seen and do not."""
    from langchain_anthropic import ChatAnthropic  # takes a second, which every process of the suite would pay

    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    ran: list[str] = []

    @tool
    def note(line: str) -> str:
        """Write a line down."""
        ran.append(line)
        return "noted"

    first = Scene(pieces=(call(),)) if whole else Scene(pieces=(call(),), reason=NO_REASON)
    async with serving({"m": Scenario(scenes=(first, DONE))}) as server:
        options: dict[str, Any] = {"api_key": "k", "base_url": server.url, "max_retries": 0}
        model = ChatAnthropic(model_name="m", stream_usage=counts, **options)
        events = run_events(
            create_agent(model, [note]), {"messages": [("user", "go")]}, {"callbacks": [WholeCallsHandler()]}
        )
        broken = False
        try:
            async for _ in events:
                pass
        except BrokenStream:
            broken = True
    assert (ran, broken) == ((["first; second"], False) if whole else ([], True))
