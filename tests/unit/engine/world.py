"""What the engine's tests run on: real graphs, a real SQLite memory, real sandboxes, the offline demo model."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun, open_gate, running
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.memory.checkpoints import Memory, open_saver
from agent_runner.clients.engine.turn import Given, open_turn, state_at_head
from agent_runner.clients.engine.user_graphs.user_graphs import Graph
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.local import LocalSandbox
from tests.unit.models.settings import SomeSettings

SECRET = "s3cret-of-the-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A turn that is over: the state it reached and its head."""

    values: dict[str, Any]
    head: str
    waits: bool
    question: Any = None

    @property
    def messages(self) -> list[BaseMessage]:
        return list(self.values["messages"])

    @property
    def answer(self) -> str:
        last = self.messages[-1]
        assert isinstance(last, AIMessage)
        return str(last.text)

    def tool_messages(self, name: str) -> list[ToolMessage]:
        return [m for m in self.messages if isinstance(m, ToolMessage) and m.name == name]


@dataclass(slots=True, kw_only=True)
class World:
    directory: Path
    memory: Memory
    factory: EngineFactory

    def run(self, thread_id: str = "t", head: str = "", gate: Callable[[], Awaitable[None]] = open_gate) -> CurrentRun:
        box = LocalSandbox(self.directory / "boxes" / thread_id, None, {"TOKEN": SECRET}, Mask([SECRET])).open()
        return CurrentRun(thread_id=thread_id, sandbox=box, mask=box.mask, head_checkpoint_id=head, gate=gate)

    async def turn(
        self, message: str, run: CurrentRun, bundle: Bundle | None = None, *, input_json: str = "",
        answers_json: str = "", resume: bool = False,
    ) -> Ended:  # fmt: skip
        """One turn from the run's head to its end."""
        bundle = bundle or Bundle(model_name="demo")
        graph: Graph = await self.factory.graph(bundle, {})
        try:
            with running(run):
                given = Given(message=message, input_json=input_json, answers_json=answers_json)
                turn = await open_turn(graph, run, bundle, given, resume=resume)
                async for _ in graph.astream_events(turn.input, turn.config, version="v2"):
                    pass
                state = await state_at_head(graph, run, bundle)
        finally:
            if run.sandbox:
                await run.sandbox.close()
        assert state is not None
        asked = state.interrupts[0].value if state.interrupts else None
        return Ended(
            values=dict(state.values or {}), head=run.head_checkpoint_id, waits=bool(state.next), question=asked
        )


@asynccontextmanager
async def make_world(directory: Path, settings: SomeSettings | None = None, url: str = "") -> AsyncIterator[World]:
    async with await open_saver(url or f"sqlite:///{directory}/memory.db") as memory:
        factory = EngineFactory(settings or SomeSettings(), memory.saver)
        yield World(directory=directory, memory=memory, factory=factory)
