"""A redrive from the failed step makes only those calls that had not finished."""

import asyncio
from uuid import uuid4

import pytest

from agent_runner.clients.engine.memory.checkpoints import HeadTracking
from agent_runner.status.phases import Phase
from tests.unit.memory import forms
from tests.unit.memory.test_matrix import Stack, end_it, loaded, module, stack

__all__ = ["module", "stack"]
BAD_ENDS = ["cancelled", "raised", "time_limit", "worker_lost"]


@pytest.mark.parametrize("form", [one for one in forms.FORMS if one != "own_saver"])
async def test_finished_calls_are_not_made_again(stack: Stack, form: str) -> None:
    """Whatever form the graph has and however its run ended: the mail is sent once, and the model gets both results."""
    graph = f"{form}__messages"
    await end_it(stack, graph, "completed", graph, uuid4().hex[:6])
    for end in BAD_ENDS:
        thread, mark = f"{graph}-{end}", uuid4().hex[:6]
        head = await end_it(stack, graph, end, thread, mark)
        loaded().MENDED.add(mark)
        result = await (await stack.turn(graph, thread, f"work hang {mark}", head, resume=True))
        assert result["phase"] == Phase.COMPLETED.wire_name, (end, stack.server.settled, stack.texts)
        assert loaded().SENT[mark] == 1, end
        assert f"mail {mark} was sent; report {mark}" in stack.texts, (end, stack.texts)


async def places(stack: Stack, thread: str) -> list[str]:
    """The checkpoints of the thread's main conversation, oldest first."""
    memory = stack.process.memory.saver
    assert isinstance(memory, HeadTracking)
    found = stack.process.loop.submit(memory.steps_since(thread, ""))
    return [one.id for one in await asyncio.to_thread(found.result, 10)]


@pytest.mark.parametrize("form", ["state_graph", "create_agent", "deep_agent", "nested"])
async def test_what_a_lost_worker_could_not_tell(stack: Stack, form: str) -> None:
    """A worker that is killed between a durable step and its report: the next run finds the step and repeats nothing.

    The server knows any of the places where the run had been, or none.
    """
    graph = f"{form}__messages"
    await end_it(stack, graph, "completed", graph, uuid4().hex[:6])
    known = 0
    while True:
        for resume in (True, False):
            thread, mark = f"{graph}-{known}-{resume}", uuid4().hex[:6]
            await end_it(stack, graph, "worker_lost", thread, mark)
            heads = ["", *await places(stack, thread)]
            if known == len(heads):
                assert known > 2
                return
            loaded().MENDED.add(mark)
            message = "what did you do?"
            again = {"resume": resume and known > 0, "go_on_if_found": resume and not known}
            result = await (await stack.turn(graph, thread, message, heads[known], untold="exec-1", **again))
            assert result["phase"] == Phase.COMPLETED.wire_name, (known, stack.server.settled, stack.texts)
            assert loaded().SENT[mark] == 1, known
            report = "report" if resume else "Error: this call has no result"
            assert f"mail {mark} was sent; {report}" in " ".join(stack.texts), (known, stack.texts)
        known += 1


async def test_somebody_elses_work_is_not_gone_on_with(stack: Stack) -> None:
    """A message that came to the session after the failed step: a redrive says that memory has moved on."""
    graph, mark = "state_graph__messages", uuid4().hex[:6]
    await end_it(stack, graph, "completed", graph, uuid4().hex[:6])
    head = await end_it(stack, graph, "worker_lost", "moved", mark)
    await (await stack.turn(graph, "moved", "what did you do?", head))
    for untold in ("", "exec-0"):
        result = await (await stack.turn(graph, "moved", "", head, resume=True, untold=untold))
        assert result["phase"] == Phase.FAILED.wire_name
        assert "HeadMovedError" in str(stack.server.settled[-1]) or "moved on" in str(stack.server.settled[-1])
