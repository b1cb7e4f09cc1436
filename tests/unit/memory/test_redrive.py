"""A redrive from the failed step makes only those calls that had not finished."""

from uuid import uuid4

import pytest

from status.phases import Phase
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
