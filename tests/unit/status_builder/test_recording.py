"""The schema of the events we read: a run recorded once is told the same way for ever."""

import json
from pathlib import Path

import pytest

from agent_runner.clients.engine.stream.event_stream import V2Events
from agent_runner.status.log.builder import StatusBuilder
from tests.unit.status_builder import recording
from tests.unit.status_builder.runs import agent, status_of
from tests.unit.status_builder.scripted_model import ScriptedModel
from tests.unit.status_builder.test_deep_agent import FULL_RUN

EVENTS = Path(__file__).parent / "recorded_events_v2.jsonl"
GOLDEN = Path(__file__).parent / "recorded_status.json"


@pytest.mark.promise("1.60")
def test_a_recorded_run_gives_the_status_it_gave() -> None:
    """Recorded v2 events replay to the golden status."""
    story, builder = V2Events(), StatusBuilder()
    deltas = [d for raw in recording.read(EVENTS) for event in story.feed(raw) for d in builder.feed(event)]
    assert status_of(deltas + builder.finish()) == json.loads(GOLDEN.read_text(encoding="utf-8"))


async def record() -> None:
    """Make the recording anew: `python -m tests.unit.status_builder.test_recording`."""
    graph = agent(ScriptedModel(reply=FULL_RUN))
    asked = {"messages": [{"role": "user", "content": "go"}]}
    raw_events = [dict(raw) async for raw in graph.astream_events(asked, {"recursion_limit": 100}, version="v2")]
    recording.write(EVENTS, raw_events)
    story, builder = V2Events(), StatusBuilder()
    deltas = [d for raw in recording.read(EVENTS) for event in story.feed(raw) for d in builder.feed(event)]
    GOLDEN.write_text(json.dumps(status_of(deltas + builder.finish()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import asyncio

    asyncio.run(record())
