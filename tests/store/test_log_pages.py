"""A page of a log is bounded in bytes as well as in rows."""

import pytest

from agent_runner.status.store.run_records import NewDelta
from agent_runner.status.store.store import Store
from tests.store.conftest import Flow

ROW = 1000


@pytest.mark.parametrize(("most", "rows"), [(1, 1), (ROW, 1), (ROW + 100, 2), (3 * ROW, 3), (100 * ROW, 9)])
async def test_a_page_ends_with_the_row_that_begins_below_its_limit(store: Store, most: int, rows: int) -> None:
    """At least one row, however large; the next page goes on after it, and nothing is missing."""
    flow = Flow(store)
    claimed = await flow.claimed()
    execution = claimed.execution
    assert execution is not None
    payload = '{"id":"a","text":"' + "x" * (ROW - 20) + '"}'
    await store.append(execution.handle, execution.fence, 0, [NewDelta(kind="text", payload=payload)] * 9, "")
    before = (await flow.facts(execution.id)).last_seq - 9
    first = await store.read_log(execution.id, before, 500, max_bytes=most)
    assert len(first) == rows
    seqs, after = [], before
    while page := await store.read_log(execution.id, after, 500, max_bytes=most):
        seqs += [row.seq for row in page]
        after = seqs[-1]
    assert seqs == list(range(before + 1, before + 10))
    assert len(await store.read_log(execution.id, before, 2, max_bytes=100 * ROW)) == 2
