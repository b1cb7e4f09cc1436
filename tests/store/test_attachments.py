"""Pictures and files of executions: written with them, gone with them, and read by nobody else."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text as sql

from agent_runner.status.attachments import Attachment
from agent_runner.status.log.log import fold, render
from agent_runner.status.media import Json
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import CreateVerdict
from agent_runner.status.store.run_records import NewDelta, Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow
from tests.support.tables import scalar

BYTES = bytes(range(256)) * 300
PICTURE = Attachment(
    id="att-1",
    type="image",
    mime_type="image/png",
    size=len(BYTES),
    name="Grüße \x00.png",
    block={"type": "image", "mime_type": "image/png", "base64": ""},
    place=("base64",),
    content=BYTES,
)
ADDRESS = Attachment(
    id="att-2", type="image", mime_type="", size=0, url="https://example.org/a.png",
    block={"type": "image", "url": "https://example.org/a.png"},
)  # fmt: skip
BOTH = {"attachments": [PICTURE, ADDRESS], "said_with": [PICTURE.shown(), ADDRESS.shown()]}


async def rows(store: Store) -> int:
    return int(await scalar(store, sql("select count(*) from execution_attachments")) or 0)


async def test_what_was_put_in_comes_out(store: Store, flow: Flow) -> None:
    """All of it, in the order in which it was sent; the log has no byte of it."""
    made = await flow.created(**BOTH, layout=[{"text": 5}, {"attachment": "att-1"}])
    await flow.created(attachments=[replace(PICTURE, content=b"another's")])
    assert await store.attachments(made.id) == [PICTURE, ADDRESS]
    assert await store.attachment(made.id, "att-1") == PICTURE
    assert await store.attachment(made.id, "att-9") is None
    first = (await store.read_log(made.id, 0, 1))[0].payload
    assert first["metadata"]["attachments"] == [PICTURE.shown(), ADDRESS.shown()]
    assert first["layout"] == [{"text": 5}, {"attachment": "att-1"}]
    assert len(json.dumps(first)) < 1000


async def test_the_same_key_keeps_the_first(store: Store, flow: Flow) -> None:
    """A create that is repeated adds nothing."""
    first = await flow.created(idempotency_key="k", **BOTH)
    again = await store.create(flow.new(idempotency_key="k", attachments=[replace(PICTURE, content=b"other")]))
    assert again.verdict is CreateVerdict.KNOWN
    assert await rows(store) == 2
    assert await store.attachments(first.id) == [PICTURE, ADDRESS]


@pytest.mark.parametrize("way", ["delete", "withdraw", "purge"])
async def test_they_go_with_their_execution(store: Store, flow: Flow, clock: Clock, way: str) -> None:
    """However it goes; those of others stay."""
    other = await flow.created(**BOTH)
    made = await flow.created(**BOTH)
    if way == "withdraw":
        assert await store.withdraw(made.id)
    else:
        await store.request_cancel(made.id, "the user")
        clock.advance(100)
        if way == "delete":
            assert await store.delete(made.id)
        else:
            assert (await store.overdue(50)).bytes > len(BYTES)
            purged = await store.purge(50)
            assert (purged.executions, purged.bytes > len(BYTES)) == (1, True)
    assert await store.attachments(made.id) == []
    assert await rows(store) == 2
    assert await store.attachments(other.id) == [PICTURE, ADDRESS]


@pytest.mark.parametrize("kind", ["message_edit", "message_removed"])
async def test_they_go_with_the_words_that_they_came_with(store: Store, flow: Flow, kind: str) -> None:
    """A graph that rewrites or takes back the user's message takes back what it came with, and nothing else."""
    before: Json = {"id": "input-1", "type": "MESSAGE_HUMAN", "content": "look"}
    before |= {"metadata": {"attachments": [ADDRESS.shown()]}}
    claimed = await flow.claimed(attachments=[PICTURE, ADDRESS], said_with=[PICTURE.shown()], before=[before])
    execution = claimed.execution
    assert execution is not None
    edit = NewDelta(kind=kind, payload=json.dumps({"id": "user", "content": "[redacted]"}))
    await store.append(execution.handle, execution.fence, 0, [edit])
    assert await store.attachments(execution.id) == [ADDRESS]
    found = await store.state(execution.id)
    assert found is not None
    assert found[1] == fold(await store.read_log(execution.id))
    assert "att-1" not in json.dumps(render(found[1]))


@pytest.mark.parametrize("kind", ["message_edit", "message_removed"])
async def test_words_of_an_input_go_from_its_json_too(store: Store, flow: Flow, kind: str) -> None:
    """One of its messages is taken back: the JSON that was sent is in no table any more, nor is what came with it."""
    shown = ADDRESS.shown()
    before: Json = {
        "id": "input-1",
        "type": "MESSAGE_HUMAN",
        "content": "card 4111",
        "metadata": {"attachments": [shown]},
    }
    claimed = await flow.claimed(
        message="and?", spoken=False, input={"messages": ["card 4111", "and?"]}, attachments=[PICTURE, ADDRESS],
        said_with=[PICTURE.shown()], before=[before],
    )  # fmt: skip
    execution = claimed.execution
    assert execution is not None
    had = fold(await store.read_log(execution.id))
    edit = NewDelta(kind=kind, payload=json.dumps({"id": "input-1", "content": "card [redacted]"}))
    await store.append(execution.handle, execution.fence, 0, [edit])
    for row in await store.read_log(execution.id, had.seq):
        had.apply(row)
    rows = await store.read_log(execution.id)
    assert fold(rows) == had
    assert "4111" not in json.dumps([row.payload for row in rows])
    assert render(had)["messages"][-1]["content"] == "and?"
    assert await store.attachments(execution.id) == [PICTURE]
    await store.settle(execution.handle, execution.fence, 1, [], "", Outcome(phase=Phase.COMPLETED))
    found = await store.state(execution.id)
    assert found is not None
    assert "4111" not in json.dumps(found[1].to_json())


async def test_messages_around_the_users(store: Store, flow: Flow) -> None:
    """His comes first in the log, and stands in its place in the status, also when read from a snapshot."""
    before = [{"id": "input-1", "type": "MESSAGE_SYSTEM", "content": "be short"}]
    after = [{"id": "input-3", "type": "MESSAGE_AI", "content": "well,"}]
    made = await flow.created(message="hello", before=before, after=after, input={"messages": []}, spoken=False)
    assert made.last_seq == 4
    log = await store.read_log(made.id)
    assert [(row.seq, row.kind, row.payload.get("id")) for row in log] == [
        (1, "message", "user"),
        (2, "message", "input-1"),
        (3, "message", "input-3"),
        (4, "phase", None),
    ]
    await store.request_cancel(made.id, "the user")
    found = await store.state(made.id)
    assert found is not None
    for state in (found[1], fold(await store.read_log(made.id))):
        assert [m["content"] for m in render(state)["messages"][:3]] == ["be short", "hello", "well,"]
