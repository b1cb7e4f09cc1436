"""What a graph rewrites or takes back is in no row and in no snapshot any more; the log keeps its numbers (L6, L7)."""

import json

import pytest
from sqlalchemy import text as sql

from agent_runner.status.log.log import State, fold, render
from agent_runner.status.phases import Phase
from agent_runner.status.store.executions.worker_writes import MIN_TAIL_BYTES
from agent_runner.status.store.run_records import NewDelta, Outcome, RunnerVerdict
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow
from tests.support.tables import rows

SECRET = "4111 1111 1111 1111"
COMPLETED = Outcome(phase=Phase.COMPLETED)


def delta(kind: str, **payload: object) -> NewDelta:
    return NewDelta(kind=kind, payload=json.dumps(payload, ensure_ascii=False, separators=(",", ":")))


SAID = [
    delta("message", id="a1", type="MESSAGE_AI", content=""),
    delta("text", id="a1", text=f"Her card is {SECRET}"),
    delta("message_end", id="a1", metadata={"reasoning": f"I know {SECRET}", "usage": {"input_tokens": 7}}),
    delta("tool_call", id="c1", message="a1", name="pay", args={"card": SECRET}, status="TOOL_CALL_PENDING"),
    delta("sub_agent", id="c1", name="payer", input=SECRET, status="SUB_AGENT_IN_PROGRESS"),
    delta("tool_end", id="c1", status="TOOL_CALL_FAILED", result=f"paid {SECRET}", error=f"no {SECRET}"),
    delta("message", id="a11", type="MESSAGE_AI", content="a1 is another message"),
]
REWRITTEN = [
    delta("message_edit", id="a1", content="Her card is [redacted]"),
    delta("tool_edit", id="c1", name="pay", args={}, component={}),
    delta("tool_edit", id="c1", result="paid"),
]
TAKEN_BACK = [delta("message_removed", id="a1"), delta("tool_removed", id="c1")]


async def tables(store: Store) -> str:
    """Every row of every table that holds content."""
    found = [
        str(row)
        for table in ("executions", "execution_log", "execution_snapshots", "session_facts")
        for row in await rows(store, sql(f"select * from {table}"))
    ]
    return "\n".join(found)


@pytest.mark.parametrize("edit", [REWRITTEN, TAKEN_BACK], ids=["rewritten", "taken-back"])
@pytest.mark.parametrize("at_once", [True, False], ids=["in-one-append", "later"])
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "no-snapshot"])
async def test_no_table_holds_what_was_taken_back(
    store: Store, flow: Flow, edit: list[NewDelta], at_once: bool, snapshot: bool
) -> None:
    """Nor does the snapshot; the status is the same for who had the old rows, and `seq` has no gaps."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    padding = [delta("text", id="a11", text="x" * (MIN_TAIL_BYTES + 1))] if snapshot else []
    said = [*SAID, *padding]
    if at_once:
        await store.append(execution.handle, 1, 0, [*said, *edit])
    else:
        await store.append(execution.handle, 1, 0, said)
        assert await store.snapshot_if_due(execution.id) == snapshot
        assert SECRET in await tables(store)
        had = fold(await store.read_log(execution.id))
        assert (await store.append(execution.handle, 1, len(said), edit)).verdict is RunnerVerdict.OK
        for row in await store.read_log(execution.id, had.seq):
            had.apply(row)
        assert (await store.state(execution.id) or (None, None))[1] == had
    assert SECRET not in await tables(store)
    found = await store.state(execution.id)
    assert found is not None
    rows = await store.read_log(execution.id)
    assert fold(rows) == found[1]
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    shown = render(found[1])["messages"]
    assert [m["content"][:22] for m in shown if m.get("metadata", {}).get("message_id") == "a11"] == [
        "a1 is another message" + ("x" if snapshot else "")
    ]
    assert [m["content"] for m in shown if m.get("metadata", {}).get("message_id") == "a1"] == (
        ["Her card is [redacted]"] if edit is REWRITTEN else []
    )


async def test_an_end_that_edits_purges_too(store: Store, flow: Flow) -> None:
    """The last deltas come with the end: what they take back goes in that transaction."""
    execution = (await flow.claimed()).execution
    assert execution is not None
    await store.append(execution.handle, 1, 0, SAID)
    settled = await store.settle(execution.handle, 1, len(SAID), TAKEN_BACK, "", COMPLETED)
    assert settled.accepted
    assert SECRET not in await tables(store)


async def test_the_users_message_keeps_its_place(store: Store, flow: Flow) -> None:
    """Rewritten it shows the new text, removed it is empty; what came as `input` goes with it."""
    execution = (await flow.claimed(message=f"I have {SECRET}", input={"card": SECRET})).execution
    assert execution is not None
    await store.append(execution.handle, 1, 0, [delta("message_edit", id="user", content="I have [card]")])
    assert SECRET not in await tables(store)
    found = await store.state(execution.id)
    assert found is not None
    assert render(found[1])["messages"][0]["content"] == "I have [card]"
    await store.append(execution.handle, 1, 1, [delta("message_removed", id="user")])
    state: State = (await store.state(execution.id) or (None, State.empty()))[1]
    assert render(state)["messages"][0]["metadata"] == {"removed": True}
