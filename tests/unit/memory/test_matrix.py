"""Form of graph x kind of state x kind of end x next turn, through the real run, engine and memory.

The server is the scripted one: it says when a run is cancelled, how long it may take and whether it is somebody
else's. A worker that is lost is told apart from the others by what the server has heard: no settle, only the last head.
"""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from agent_runner.status.phases import Phase
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.v1 import runner_pb2 as pb
from tests.support.waiting import eventually
from tests.unit.memory import forms
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

ENDS = ["completed", "cancelled", "raised", "time_limit", "worker_lost", "interrupt", "model_broke"]

EXECUTION = "exec-1"
SHORT_S, TIMES_A_TURN = 0.5, 5
"""The time limit of a run that is to reach it: on a machine full of work it, too, gets to its slow call before."""


class Stack:
    """One worker's process and the server it reports to."""

    def __init__(self, process: RunnerProcess, server: RunnerServer) -> None:
        self.process, self.server = process, server
        self.untold: set[str] = set()
        """Threads whose last run nobody but the server told the end of."""
        self.turn_s = 0.0
        """What the longest turn took that nothing held up."""

    async def turn(
        self, graph: str, thread: str, message: str, head: str, *, limit_s: float = 60.0, resume: bool = False,
        untold: str | None = None, go_on_if_found: bool = False,
    ) -> Any:  # fmt: skip
        """Starts a turn, or goes on with the one that stands at the head; a future of the task's result.

        `untold`: as the store says it unless given, which is after a lost worker: its memory may be ahead of the head.
        """
        if untold is None:
            untold = EXECUTION if thread in self.untold else ""
        self.untold.discard(thread)
        self.server.stored.clear()
        self.server.settled.clear()
        self.server.heads.clear()
        self.server.verdict = pb.GO_ON
        said = pb.ClaimReply(
            granted=True, handle=7, fence=3, heartbeat_s=30, start_to_close_s=limit_s,
            graph=graph, thread_id=thread, message=message, head_checkpoint_id=head, resume=resume,
            untold_execution_id=untold, go_on_if_found=go_on_if_found,
        )  # fmt: skip
        self.server.claim_reply = said
        work = self.process.loop.submit(execute(self.process, EXECUTION, Quiet()))  # type: ignore[arg-type]
        return asyncio.ensure_future(asyncio.to_thread(work.result, 60))

    def head(self, before: str) -> str:
        """What the server knows of the session's memory."""
        if self.server.settled:
            return self.server.settled[-1].head_checkpoint_id
        return next((head for head in reversed(self.server.heads) if head), before)

    def knows_head_of(self, run: Any) -> bool:
        return self.server.heads[-1:] == [run.current.head_checkpoint_id]

    @property
    def texts(self) -> list[str]:
        return [str(p.get("content", p.get("text", ""))) for _, p in self.server.stored]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    shutil.copy(Path(forms.__file__), folder / "matrix_forms.py")
    graphs = {name: f"./matrix_forms.py:{name}" for name in forms.NAMES}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
    return folder


@pytest.fixture
async def stack(module: Path, tmp_path: Path) -> AsyncIterator[Stack]:
    server = await RunnerServer().start()
    async with runner_process(settings_of(server.port, tmp_path, graphs=module / "langgraph.json")) as process:
        yield Stack(process, server)
    await server.stop()


def loaded() -> ModuleType:
    """The user's file as the worker has loaded it last."""
    found = [m for n, m in sys.modules.copy().items() if n.startswith("agent_runner_user_graphs.matrix_forms_")]
    return found[-1]


async def end_it(stack: Stack, graph: str, end: str, thread: str, mark: str) -> str:
    """A turn that ends that way; the head the server knows then."""
    how = {"completed": "return", "raised": "raise", "interrupt": "ask"}.get(end, "hang")
    message = "break" if end == "model_broke" else f"work {how} {mark}"
    short_s = max(SHORT_S, TIMES_A_TURN * stack.turn_s)
    began = time.monotonic()
    work = await stack.turn(graph, thread, message, "", limit_s=short_s if end == "time_limit" else 60.0)
    if end in ("cancelled", "worker_lost"):
        await asyncio.to_thread(eventually, lambda: mark in loaded().REACHED, what="the slow call is open")
        verdict = pb.CANCEL if end == "cancelled" else pb.FENCED_OUT
        run = next(iter(stack.process._runs.values()))
        if not graph.startswith("own_saver"):
            await asyncio.to_thread(eventually, lambda: stack.knows_head_of(run), what="the server knows the head")
        stack.process.loop.submit(_tell(run, verdict)).result(20)
    result = await work
    if end == "completed":
        stack.turn_s = max(stack.turn_s, time.monotonic() - began)
    phase = {"completed": Phase.COMPLETED, "interrupt": Phase.COMPLETED, "cancelled": Phase.CANCELLED}
    expected = "" if end == "worker_lost" else phase.get(end, Phase.FAILED).wire_name
    assert result["phase"] == expected, stack.server.settled
    if end == "worker_lost":
        stack.untold.add(thread)
    return stack.head("")


async def _tell(run: Any, verdict: int) -> None:
    run.on_verdict(verdict)


@pytest.mark.parametrize("kind", list(forms.VALUES))
@pytest.mark.parametrize("form", list(forms.FORMS))
async def test_the_session_goes_on(stack: Stack, form: str, kind: str) -> None:
    """After every kind of end the next two turns complete, calls that had finished are remembered and not repeated."""
    graph = f"{form}__{kind}"
    for end in ENDS:
        thread, mark = f"{graph}-{end}", uuid4().hex[:6]
        head = await end_it(stack, graph, end, thread, mark)
        for message in ("yes", "what did you do?"):
            result = await (await stack.turn(graph, thread, message, head))
            assert result["phase"] == Phase.COMPLETED.wire_name, (end, message, stack.server.settled, stack.texts)
            if end != "interrupt":
                assert '"slow"' not in json.dumps(stack.server.stored), (end, "a call of an earlier turn is told again")
            head = stack.head(head)
        if end != "model_broke":
            assert f"mail {mark} was sent" in " ".join(stack.texts), (end, stack.texts)
            # A node that asks begins again when it is answered (LangGraph's rule), and of a memory of the graph's own
            # nobody knows what its calls had done.
            again = end == "interrupt" and form == "own_saver"
            assert loaded().SENT[mark] in {1, 1 + again}, end
