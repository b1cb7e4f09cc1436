"""What people look for is found in the whole table, page by page, at the cost of what is shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.lists.selection import CLOCKS_APART_S, SEARCHED
from agent_runner.status.store.lists.summary_records import Summary
from agent_runner.status.store.paging import COUNTED
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow
from tests.store.test_tags_upgrade import Database, execution
from tests.support import databases

STEPS = 100


def asked(size: int = 0, token: str = "", **given: Any) -> ExecutionQuery:
    own = {name: given.pop(name) for name in ("org", "session_id", "agent", "waiting", "tags") if name in given}
    return ExecutionQuery(page_size=size, page_token=token, more=ListFilters(**given), **own)


async def found(store: Store, size: int = 2, **given: Any) -> list[Summary]:
    """All pages; the first `size` of each must agree with `list`."""
    rows: list[Summary] = []
    token = ""
    while True:
        page = await store.summaries(asked(size, token, **given))
        listed = await store.list(asked(size, token, **given))
        assert [one.id for one in page.rows] == [one.id for one in listed.executions]
        assert page.next_token == listed.next_token
        rows += page.rows
        if not (token := page.next_token):
            return rows


async def ids(store: Store, **given: Any) -> list[str]:
    return [row.id for row in await found(store, **given)]


async def test_a_row(store: Store, flow: Flow, clock: Clock) -> None:
    """It has what the execution is, who ran it and for how long, and the beginning of its message."""
    labels = {"metadata": {"labels": {"team": "red", "long": "x" * 300}}}
    made = await flow.created(message='Say "hi"\n' + "é" * 500, spec=labels, graph="writer")
    (row,) = await found(store)
    assert (row.phase, row.started_at, row.ended_at, row.wait_s, row.worker) == (Phase.PENDING, None, None, None, "")
    clock.advance(2)
    await store.dispatched(made.id)
    await store.begin(made.id, "b1", "w1")
    await store.done(made.id, "b1", "thread-1")
    clock.advance(1)
    claimed = (await store.claim(made.id, "c1", "w1")).execution
    assert claimed is not None
    clock.advance(5)
    await store.settle(claimed.handle, claimed.fence, 0, [], "", Outcome(phase=Phase.COMPLETED))
    (row,) = await found(store)
    assert row.message == 'Say "hi"\n' + "é" * (119 - 9) + "…"
    assert (row.id, row.phase, row.graph, row.session_id) == (made.id, Phase.COMPLETED, "writer", made.session_id)
    assert (row.agent, row.worker, row.attempt) == ("agt-1", "w1", 1), "an agent that is gone shows its id"
    assert row.wait_s == pytest.approx(3)
    assert row.started_at is not None
    assert row.ended_at == pytest.approx(row.started_at + 5)
    assert row.labels == {"team": "red"}, "a label that is too long to be looked for is shown by the execution only"


async def test_each_filter_chooses_in_the_whole_table(store: Store, flow: Flow, clock: Clock) -> None:
    """By phase, code, agent, graph, session, label, tag and time, alone and together, on pages of any size."""
    made: list[str] = []
    for n in range(12):
        document = {"metadata": {"labels": {"n": str(n % 3), "all": "yes"}, "tags": ["even"] if n % 2 == 0 else []}}
        graph, agent = ("writer", "agt-2") if n % 4 == 0 else ("", "agt-1")
        one = await flow.claimed(f"w{n}", session_id=f"s-{n // 3}-{n}", graph=graph, agent_id=agent, spec=document)
        assert one.execution is not None
        made.append(one.execution.id)
        if n % 3 == 0:
            outcome = Outcome(phase=Phase.FAILED, code=Code.APPLICATION, facts={"original_error": "no"})
            await store.settle(one.execution.handle, one.execution.fence, 0, [], "", outcome)
        elif n % 3 == 1:
            await store.settle(one.execution.handle, one.execution.fence, 0, [], "", Outcome(phase=Phase.COMPLETED))
        clock.advance(100)
    newest = made[::-1]
    every = {n: newest[11 - n] for n in range(12)}

    def of(*numbers: int) -> list[str]:
        return [every[n] for n in sorted(numbers, reverse=True)]

    assert await ids(store) == newest
    assert await ids(store, phases=[Phase.FAILED]) == of(0, 3, 6, 9)
    assert await ids(store, phases=[Phase.FAILED, Phase.COMPLETED]) == of(0, 1, 3, 4, 6, 7, 9, 10)
    assert await ids(store, phases=list(Phase), size=5) == newest
    assert await ids(store, code="E301") == of(0, 3, 6, 9)
    assert await ids(store, code="E103") == []
    assert await ids(store, graph="writer") == of(0, 4, 8)
    assert await ids(store, agent="agt-2", phases=[Phase.FAILED]) == of(0)
    assert await ids(store, session_id="s-1-4") == of(4)
    assert await ids(store, labels=["n:2"]) == of(2, 5, 8, 11)
    assert await ids(store, labels=["all:yes", "n:2"], tags=["even"]) == of(2, 8)
    assert await ids(store, labels=["n:2"], phases=[Phase.IN_PROGRESS], graph="writer") == of(8)
    begun = clock.at - 1200
    assert await ids(store, created_after=begun + 900) == of(9, 10, 11)
    assert await ids(store, created_before=begun + 300) == of(0, 1, 2)
    assert await ids(store, created_after=begun + 100, created_before=begun + 400, phases=[Phase.COMPLETED]) == of(1)
    assert await ids(store, created_after=clock.at + 2 * CLOCKS_APART_S) == []
    assert await ids(store, created_before=begun - 2 * CLOCKS_APART_S) == []
    counts = await store.phase_numbers(asked(phases=[Phase.FAILED]))
    assert (counts.phases, counts.more) == (dict.fromkeys((Phase.FAILED, Phase.COMPLETED, Phase.IN_PROGRESS), 4), False)
    assert (await store.phase_numbers(asked(labels=["n:0"]))).phases == {Phase.FAILED: 4}
    assert (await store.phase_numbers(asked(text="hello", graph="writer"))).phases == {
        Phase.FAILED: 1, Phase.COMPLETED: 1, Phase.IN_PROGRESS: 1,
    }  # fmt: skip
    chosen = asked(ids=[*made[:4], "aex-none"], graph="writer", phases=[Phase.COMPLETED])
    assert [row.id for row in await store.summaries_of(chosen)] == of(0), "in whatever phase it is now"


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("Quarterly", True), ("quarterly REPORT", True), ('say "yes"', True), ("back\\slash", True), ("50%", True),
        ("5_%", False), ("über", True), ("MESSAGE_HUMAN", False), ("spoken", False), ("content", False), ("\n", True),
    ],
)  # fmt: skip
async def test_a_text_is_found_in_messages(store: Store, flow: Flow, text: str, hit: bool) -> None:
    """It is taken as it is, whatever it means to a database or to JSON, and found in nothing but the message."""
    said = await flow.created(
        message='The quarterly report: say "yes", back\\slash, 50% über\nall', input={"spoken": 1}
    )
    await flow.created(message="something else")
    expected = {"\n": [said.id]}.get(text, [said.id] if hit else [])
    if text == "\n":  # white space around a text is no part of it, so nothing is left to look for
        assert len(await ids(store, text=text)) == 2
    else:
        assert await ids(store, text=text) == expected


async def test_a_text_is_found_in_ids(store: Store, flow: Flow) -> None:
    """A whole id wherever it is, a part of one among the newest, and the session's too."""
    whole = await flow.created(id="aex-01kb00000000000000000000aa", session_id="ses-01kb00000000000000000000bb")
    others = [(await flow.created()).id for _ in range(3)]
    assert await ids(store, text=whole.id) == await ids(store, text=whole.session_id) == [whole.id]
    assert await ids(store, text="0000AA") == await ids(store, text="00bb") == [whole.id]
    assert await ids(store, text=others[1][4:14]) == [others[1]]


@pytest.fixture
def filled_url(sort: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Rows are put into it as they are after their end, which is no transition."""
    with databases.migrated(sort, tmp_path_factory.mktemp("filled")) as url:
        yield url


async def test_a_search_goes_on_page_by_page(filled_url: str) -> None:
    """Each page looks at a stretch of the list, so what is far back is found by following the tokens."""
    rows = Database(filled_url)
    rows.put("executions", [execution(n, f"aex-{n}", []) for n in range(1, 2 * SEARCHED + 101)])
    say = dict.fromkeys((50, 2 * SEARCHED), "needle")
    rows.put("execution_log", [
        {"handle": n, "seq": 1, "at": 1.0, "fence": 0, "kind": "message", "payload": json.dumps(
            {"id": "user", "type": "MESSAGE_HUMAN", "content": say.get(n, "hay")}, separators=(",", ":"))}
        for n in range(1, 2 * SEARCHED + 101)
    ])  # fmt: skip
    rows.close()
    store = Store.open(filled_url)
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        page = await store.summaries(asked(50, token, text="needle"))
        pages.append([row.id for row in page.rows])
        token = page.next_token
    assert pages == [[f"aex-{2 * SEARCHED}"], [], ["aex-50"]]
    assert (await store.phase_numbers(asked(text="needle"))).more, "there are executions that were not looked at"
    await store.close()


@contextmanager
def steps(store: Store) -> Iterator[list[int]]:
    """Counts what SQLite does, in hundreds of its instructions: the same for the same work, on any machine."""
    done = [0]

    def count() -> int:
        done[0] += 1
        return 0

    def watch(raw: Any, _record: Any) -> None:
        raw.set_progress_handler(count, STEPS)

    event.listen(store.engine, "connect", watch)
    store.outages.seen += 1
    try:
        yield done
    finally:
        event.remove(store.engine, "connect", watch)
        store.outages.seen += 1


LISTS: dict[str, dict[str, Any]] = {
    "all": {},
    "of an org": {"org": "acme"},
    "a phase": {"phases": [Phase.COMPLETED]},
    "rare phases": {"phases": [Phase.FAILED, Phase.CANCELLED, Phase.PENDING]},
    "a code": {"code": "E301"},
    "a graph": {"graph": "writer"},
    "an agent": {"agent": "agt-rare"},
    "a session": {"session_id": "ses-rare"},
    "a label": {"labels": ["team:rare"]},
    "a tag": {"tags": ["rare"]},
    "long ago": {"created_before": 200.0},
    "between": {"created_after": 100.0, "created_before": 300.0},
    "a text": {"text": "nowhere"},
}


def fill(url: str, count: int) -> None:
    """Every 500th one is rare in all that can be asked for."""
    rows = Database(url)
    some = []
    for n in range(1, count + 1):
        one = execution(n, f"aex-{n}", []) | {"created_at": float(n), "org": "acme", "agent_id": "agt-1"}
        if n % 500 == 0:
            one |= {"phase": 4, "error_code": "E301", "graph": "writer", "agent_id": "agt-rare"}
            one |= {"session_id": "ses-rare"}
        some.append(one)
    rows.put("executions", some)
    rare = range(500, count + 1, 500)
    rows.put("execution_labels", [{"handle": n, "label": "team:rare"} for n in rare])
    rows.put("execution_tags", [{"handle": n, "tag": "rare"} for n in rare])
    rows.close()


@pytest.mark.parametrize("sort", ["sqlite"], indirect=True)
async def test_a_page_costs_what_it_shows(filled_url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With eight times as many executions, a page and the counts take about as many steps, whatever is asked for."""
    told: dict[str, list[int]] = {}
    with databases.migrated("sqlite", tmp_path_factory.mktemp("large")) as larger:
        for url, count in ((filled_url, 2 * COUNTED), (larger, 8 * COUNTED)):
            fill(url, count)
            store = Store.open(url)
            for name, given in LISTS.items():
                with steps(store) as done:
                    await store.summaries(asked(20, **given))
                    await store.phase_numbers(asked(**given))
                told.setdefault(name, []).append(done[0])
            await store.close()
    assert {name: both for name, both in told.items() if both[1] > 1.5 * both[0] + 50} == {}
