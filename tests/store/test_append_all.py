"""What all runs of a worker say at once: one transaction, in which each run stands by itself."""

from collections.abc import Callable

import pytest

from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import NewDelta, RunDeltas, RunnerVerdict
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow

Text = Callable[[str], NewDelta]


async def claimed(flow: Flow) -> Execution:
    found = (await flow.claimed()).execution
    assert found is not None
    return found


def said(run: Execution, *deltas: NewDelta, first: int = 0, fence: int | None = None, head: str = "") -> RunDeltas:
    its_fence = run.fence if fence is None else fence
    return RunDeltas(handle=run.handle, fence=its_fence, first=first, deltas=deltas, head=head)


async def texts(store: Store, id: str) -> list[str]:
    return [row.payload["text"] for row in await store.read_log(id) if row.kind == "text"]


async def test_one_transaction_for_many_runs_each_under_its_own_fence(store: Store, flow: Flow, text: Text) -> None:
    """A run that is refused refuses only itself; the answers come in the order of the runs."""
    runs = [await claimed(flow) for _ in range(4)]
    await store.request_cancel(runs[2].id, "somebody")
    before = store.outages.transactions
    answers = await store.append_all(
        [
            said(runs[3], text("d")),
            said(runs[0], text("a"), text("b"), head="checkpoint-1"),
            said(runs[1], text("x"), fence=runs[1].fence + 7),
            said(runs[2], text("c")),
        ]
    )
    assert store.outages.transactions == before + 1
    verdicts = [RunnerVerdict.OK, RunnerVerdict.OK, RunnerVerdict.FENCED_OUT, RunnerVerdict.CANCEL]
    assert [answer.verdict for answer in answers] == verdicts
    assert [answer.next for answer in answers] == [1, 2, 0, 1]
    assert [answer.execution_id for answer in answers] == [runs[n].id for n in (3, 0, 1, 2)]
    assert [await texts(store, run.id) for run in runs] == [["a", "b"], [], ["c"], ["d"]]
    assert (await store.session_facts(runs[0].session_id))[1] == "checkpoint-1"


async def test_a_run_may_stand_in_it_twice(store: Store, flow: Flow, text: Text) -> None:
    """Its parts are stored in their order, a part that came already is not stored again, and an edit in the second part
    finds the words of the first."""
    run = await claimed(flow)
    message = NewDelta(kind="message", payload='{"id":"a1","type":"MESSAGE_AI","content":"secret"}')
    edit = NewDelta(kind="message_edit", payload='{"id":"a1","content":"changed"}')
    answers = await store.append_all([said(run, message), said(run, edit, first=1), said(run, message)])
    assert [(answer.verdict, answer.next) for answer in answers] == [
        (RunnerVerdict.OK, 1),
        (RunnerVerdict.OK, 2),
        (RunnerVerdict.OK, 2),
    ]
    rows = await store.read_log(run.id)
    assert [row.kind for row in rows][-2:] == ["message", "message_edit"]
    assert "secret" not in str([row.payload for row in rows])


async def test_what_cannot_be_stored_holds_up_no_other_run(store: Store, flow: Flow, text: Text) -> None:
    """The others' rows are stored, then the error of the one is raised; a repeated call stores nothing twice."""
    good, bad = await claimed(flow), await claimed(flow)
    broken = NewDelta(kind="message_edit", payload="no JSON")
    for _ in range(2):
        with pytest.raises(ValueError, match="Expecting value"):
            await store.append_all([said(bad, broken), said(good, text("a"))])
    assert await texts(store, good.id) == ["a"]
    assert (await flow.facts(bad.id)).runner_seq == 0
