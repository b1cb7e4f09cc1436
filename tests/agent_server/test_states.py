"""The state of a thread: what workers remember, as clients read and change it."""

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import BadRequestError, NotFoundError

from tests.agent_server.conftest import run
from tests.integration.stack import Stack


async def test_the_state_of_a_thread(client: Any, served: Stack) -> None:
    """Empty before the first run; afterwards values, next, checkpoints and metadata, and the thread has the values."""
    thread = (await client.threads.create())["thread_id"]
    empty = await client.threads.get_state(thread)
    assert (empty["values"], empty["next"], empty["checkpoint"]) == ({}, [], None)
    assert await client.threads.get_history(thread) == []
    run(served, thread, "adder", input={"value": 1})
    state = await client.threads.get_state(thread)
    assert state["values"] == {"value": 4, "log": ["add_one", "double"]}
    assert (state["next"], state["tasks"], state["interrupts"]) == ([], [], [])
    assert state["checkpoint"]["thread_id"] == state["metadata"]["thread_id"] == thread
    assert state["parent_checkpoint"]["checkpoint_id"] < state["checkpoint"]["checkpoint_id"]
    assert state["metadata"]["graph_id"] == "adder"
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]) == ("idle", state["values"])
    found = await client.threads.search(metadata={"graph_id": "adder"}, values={"value": 4})
    assert thread in [one["thread_id"] for one in found]


async def test_an_interrupt_in_a_thread(client: Any, served: Stack) -> None:
    """The thread is interrupted, and its interrupts are under the id of their task."""
    thread = (await client.threads.create())["thread_id"]
    run(served, thread, "asker", input={"item": "tea"})
    state = await client.threads.get_state(thread)
    assert state["next"] == ["ask"]
    assert [one["value"] for one in state["interrupts"]] == [{"about": "tea"}]
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert shown["interrupts"] == {state["tasks"][0]["id"]: state["interrupts"]}


async def test_the_state_of_a_subgraph(client: Any, served: Stack) -> None:
    """With `subgraphs` the task holds the state inside; without, where it is."""
    thread = (await client.threads.create())["thread_id"]
    run(served, thread, "nested", input={"n": 2})
    inner = (await client.threads.get_state(thread, subgraphs=True))["tasks"][0]["state"]
    assert (inner["values"], inner["next"]) == ({"n": 2}, ["thrice"])
    flat = (await client.threads.get_state(thread))["tasks"][0]
    assert flat["state"] is None
    namespace = flat["checkpoint"]["checkpoint_ns"]
    assert namespace.startswith("inner:")
    history = await client.threads.get_history(thread, checkpoint={"checkpoint_ns": namespace}, limit=5)
    assert history[0]["next"] == ["thrice"]


async def test_a_failed_run(client: Any, served: Stack) -> None:
    """The thread shows `error`; its state shows which node failed and why."""
    thread = (await client.threads.create())["thread_id"]
    run(served, thread, "failing", input={"seen": ["x"]})
    state = await client.threads.get_state(thread)
    assert state["next"] == ["fail"]
    assert "no good" in state["tasks"][0]["error"]
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["error"]["error"]) == ("error", "Application")
    await client.runs.wait(thread, "failing", input={"seen": ["x"]}, raise_error=False)
    shown = await client.threads.get(thread)
    assert shown["error"] == {"error": "ValueError", "message": "no good"}


@pytest.mark.promise("5.04")
async def test_a_state_by_hand(client: Any, served: Stack) -> None:
    """Written as a node, through the reducers; the thread then waits for the next node. Unknown nodes are refused."""
    thread = (await client.threads.create())["thread_id"]
    with pytest.raises(BadRequestError, match="no graph yet"):
        await client.threads.update_state(thread, {"value": 7})
    run(served, thread, "adder", input={"value": 1})
    written = await client.threads.update_state(thread, {"value": 7, "log": ["by hand"]}, as_node="add_one")
    state = await client.threads.get_state(thread)
    assert state["checkpoint"]["checkpoint_id"] == written["checkpoint"]["checkpoint_id"]
    assert state["values"] == {"value": 7, "log": ["add_one", "double", "by hand"]}
    assert (state["next"], state["metadata"]["source"]) == (["double"], "update")
    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]["value"]) == ("interrupted", 7)
    with pytest.raises(BadRequestError, match="nobody"):
        await client.threads.update_state(thread, {"value": 7}, as_node="nobody")
    with pytest.raises(NotFoundError):
        await client.threads.update_state("3f1a0c5e-2a52-4c53-9a1c-0d5b4c1f7e09", {"value": 7})


async def test_history_and_branches(client: Any, served: Stack) -> None:
    """Newest first, chained by parents; a state at an earlier checkpoint begins a branch, which counts from then on."""
    thread = (await client.threads.create())["thread_id"]
    run(served, thread, "adder", input={"value": 1})
    for value in (5, 6):
        await client.threads.update_state(thread, {"value": value}, as_node="add_one")
    history = await client.threads.get_history(thread, limit=10)
    ids = [one["checkpoint"]["checkpoint_id"] for one in history]
    parents = [one["parent_checkpoint"] and one["parent_checkpoint"]["checkpoint_id"] for one in history]
    assert ids == sorted(ids, reverse=True)
    assert parents[:-1] == ids[1:]
    assert [one["values"]["value"] for one in history[:2]] == [6, 5]
    older = await client.threads.get_history(thread, limit=10, before={"configurable": {"checkpoint_id": ids[0]}})
    assert [one["checkpoint"]["checkpoint_id"] for one in older] == ids[1:]
    assert len(await client.threads.get_history(thread, limit=1)) == 1
    at = history[1]["checkpoint"]
    forked = await client.threads.update_state(thread, {"value": 50}, checkpoint=at, as_node="add_one")
    assert (await client.threads.get_state(thread))["values"]["value"] == 50
    there = await client.threads.get_state(thread, checkpoint=at)
    assert there["values"] == history[1]["values"]
    by_id = await client.threads.get_state(thread, checkpoint_id=forked["checkpoint"]["checkpoint_id"])
    assert by_id["values"]["value"] == 50


async def test_a_copy_has_the_memory(client: Any, served: Stack) -> None:
    """It has the values and the history, and goes its own way; the first thread stays as it was."""
    thread = (await client.threads.create(metadata={"title": "first"}))["thread_id"]
    run(served, thread, "adder", input={"value": 1})
    await client.threads.copy(thread)
    copied = next(t for t in await client.threads.search(metadata={"title": "first"}) if t["thread_id"] != thread)
    other = copied["thread_id"]
    assert copied["values"]["value"] == 4
    assert len(await client.threads.get_history(other, limit=10)) == len(
        await client.threads.get_history(thread, limit=10)
    )
    ended = run(served, other, "adder", input={"value": 10})
    assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
    assert (await client.threads.get_state(other))["values"]["log"] == ["add_one", "double"] * 2
    assert (await client.threads.get_state(thread))["values"]["value"] == 4


async def test_the_storage_of_a_thread(client: Any, served: Stack) -> None:
    """Nothing before the first run; then checkpoints, values by channel and writes in bytes, and more with each run."""
    thread = (await client.threads.create())["thread_id"]

    async def stored() -> dict[str, Any]:
        found: dict[str, Any] = await client.http.get(f"/threads/{thread}/storage")
        assert found["thread_id"] == thread
        parts = ("checkpoints", "channel_values", "pending_writes")
        assert found["total_bytes"] == sum(found[part]["bytes"] for part in parts)
        return found

    assert (await stored())["total_bytes"] == 0
    run(served, thread, "adder", input={"value": 1})
    once = await stored()
    assert once["checkpoints"]["count"] == len(await client.threads.get_history(thread, limit=10))
    assert {"value", "log"} <= set(once["channel_values"]["by_channel"])
    run(served, thread, "adder", input={"value": 10})
    assert (await stored())["total_bytes"] > once["total_bytes"] > 0
    with pytest.raises(NotFoundError):
        await client.http.get(f"/threads/{uuid.uuid4()}/storage")


async def test_a_search_by_values_nobody_read(client: Any, served: Stack) -> None:
    """Threads are found and counted by values that were never asked for before."""
    mine = {"mine": str(uuid.uuid4())}
    threads = [(await client.threads.create(metadata=mine))["thread_id"] for _ in range(3)]
    for number, thread in enumerate(threads):
        run(served, thread, "adder", input={"value": number})
    assert await client.threads.count(metadata=mine, values={"value": 4}) == 1
    found = await client.threads.search(metadata=mine, values={"value": 4})
    assert [one["thread_id"] for one in found] == [threads[1]]


async def test_questions_answered_one_by_one(client: Any) -> None:
    """After one of two answers the other question is still told, by `wait` too, and what was answered is kept."""
    thread = (await client.threads.create())["thread_id"]
    asked = (await client.runs.wait(thread, "both", input={"answers": []}))["__interrupt__"]
    ids = {one["value"]: one["id"] for one in asked}
    rest = await client.runs.wait(thread, "both", command={"resume": {ids["left"]: "A"}})
    assert [one["value"] for one in rest["__interrupt__"]] == ["right"]
    assert (await client.threads.get(thread))["status"] == "interrupted"
    ended = await client.runs.wait(thread, "both", command={"resume": {ids["right"]: "B"}})
    assert sorted(ended["answers"]) == ["left A", "right B"]
