"""What a tool of any kind returns is masked before it enters the graph, whatever its shape."""

from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.types import Command

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.masking.mask import SHOWN, Mask

SECRET = "hunter2-hunter2"


async def masked(result: Any) -> Any:
    request: Any = SimpleNamespace(tool_call={"name": "look", "id": "c1", "args": {}}, state={"messages": []})

    async def handler(_: Any) -> Any:
        return result

    with running(CurrentRun(thread_id="t", mask=Mask([SECRET]))):
        return await RunGuard().awrap_tool_call(request, handler)


def message(content: Any, artifact: Any = None) -> ToolMessage:
    return ToolMessage(content=content, tool_call_id="c1", name="look", artifact=artifact)


@pytest.mark.parametrize(
    "content", [f"it is {SECRET}", [{"type": "text", "text": f"it is {SECRET}"}], [f"it is {SECRET}", {"n": 1}]]
)
async def test_content_and_artifact(content: Any) -> None:
    """A text, blocks of content, and what the tool keeps beside them: checkpoints hold all of it."""
    found = await masked(message(content, {"raw": [SECRET], "n": 1}))
    assert SECRET not in repr(found)
    assert f"it is {SHOWN}" in repr(found.content)
    assert found.artifact == {"raw": [SHOWN], "n": 1}


async def test_a_command() -> None:
    """The messages of an update, as tools give them that also change the state; the rest is passed on."""
    given = Command(update={"messages": [message(SECRET), HumanMessage("hello")], "files": {"a": 1}}, goto="next")
    found = await masked(given)
    assert SECRET not in repr(found)
    assert [m.content for m in found.update["messages"]] == [SHOWN, "hello"]
    assert (found.update["files"], found.goto) == ({"a": 1}, "next")


async def test_nothing_to_mask_is_nothing_new() -> None:
    """The same object comes back."""
    results: list[Any] = [message("fine"), Command(update={"todos": []}), Command(update=None)]
    for result in results:
        assert await masked(result) == result
