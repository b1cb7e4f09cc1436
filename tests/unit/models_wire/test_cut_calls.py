"""A cut tool call is never run: streams that end at every byte, with and without each reason, on both protocols."""

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from agent_runner.clients.engine.middleware import RunGuard
from tests.unit.models_wire.scenes import (
    ANTHROPIC,
    DONE,
    NO_REASON,
    OPENAI,
    PROTOCOLS,
    WHOLE_ARGS,
    Scenario,
    Scene,
    call,
)
from tests.unit.models_wire.server import WireServer, serving
from tests.unit.models_wire.told import model_at
from tests.unit.models_wire.wires import frames

REASONS = {
    OPENAI: (NO_REASON, "tool_calls", "stop", "function_call", "length", "content_filter", "some_new_word"),
    ANTHROPIC: (
        *(NO_REASON, "tool_use", "end_turn", "max_tokens", "refusal", "stop_sequence"),
        *("model_context_window_exceeded", "pause_turn", "some_new_word"),
    ),
}
ENDS_CALLS = {"tool_calls", "stop", "function_call", "tool_use", "end_turn"}


class Witness:
    """An agent whose only tool writes what it was given to a file."""

    def __init__(self, model: BaseChatModel, file: Path) -> None:
        self.file = file

        @tool
        def note(line: str) -> str:
            """Write a line down."""
            with file.open("a") as out:
                out.write(f"{line}\n")
            return "noted"

        self._graph: Any = create_agent(model, [note], middleware=[RunGuard()])

    async def lines(self, server: WireServer, scene: Scene) -> list[str]:
        """What was executed in a turn whose first answer is `scene`."""
        self.file.write_text("")
        server.scenarios["m"], server.asked["m"] = Scenario(scenes=(scene, DONE)), 0
        async for _ in self._graph.astream_events({"messages": [("user", "go")]}, version="v2"):
            pass
        return self.file.read_text().splitlines()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_runner.clients.models.whole.PAUSE_S", 0.0)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.mark.parametrize("wire", PROTOCOLS)
async def test_a_call_runs_only_if_it_is_whole_and_its_message_ended_so(wire: str, tmp_path: Path) -> None:
    """Of all prefixes of the arguments and all reasons, only the whole ones with a reason that ends calls run."""
    async with serving({}) as server:
        witness = Witness(model_at(wire, server.url, "m"), tmp_path / "ran")
        for reason in REASONS[wire]:
            for sent in range(len(WHOLE_ARGS) + 1):
                whole = sent == len(WHOLE_ARGS) and reason in ENDS_CALLS
                scene = Scene(pieces=(call(WHOLE_ARGS[:sent]),), reason=reason)
                ran = await witness.lines(server, scene)
                assert ran == (["first; second"] if whole else []), (reason, sent)


@pytest.mark.parametrize("wire", PROTOCOLS)
@pytest.mark.parametrize("drop", [False, True], ids=["ended", "dropped"])
async def test_a_body_that_ends_anywhere_runs_nothing_before_the_reason(wire: str, drop: bool, tmp_path: Path) -> None:
    """At every byte of the arguments, and at more up to the reason, nothing runs and the model is asked again."""
    scene = Scene(pieces=(call(),))
    body = b"".join(frames(wire, scene))
    begins = body.index(b"first") - 20
    ends = body.index(b"second") + 12
    reason = body.index({OPENAI: b'"tool_calls"}', ANTHROPIC: b'"tool_use", "stop_sequence"'}[wire])
    async with serving({}) as server:
        witness = Witness(model_at(wire, server.url, "m"), tmp_path / "ran")
        for sent in [*range(begins, ends), *range(ends, reason, 7)]:
            cut = Scene(pieces=scene.pieces, bytes_sent=sent, drop=drop)
            assert await witness.lines(server, cut) == [], sent
            assert server.asked["m"] == 2, sent
