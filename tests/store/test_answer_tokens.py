"""A token answers its question once: whoever uses it at the same time, whoever answers otherwise, on every database."""

import asyncio
import json
from typing import Any

import pytest

from agent_runner.status.phases import Phase
from agent_runner.status.store.errors import AnswerNotTaken
from agent_runner.status.store.records import Created, Execution
from agent_runner.status.store.run_records import NewDelta, Outcome
from agent_runner.status.store.store import Store
from agent_runner.status.store.turns.answer_tokens import AnswerToken, Standing
from tests.store.conftest import Clock, Flow

LASTS_S = 600.0


def question(id: str, text: str = "") -> dict[str, Any]:
    text = text or f"{id}?"
    return {"id": id, "value": text, "text": text, "expects": {"kind": "any"}}


async def settled(store: Store, execution: Execution, *asked: dict[str, Any], head: str = "h") -> None:
    deltas = [NewDelta(kind="question", payload=json.dumps(one)) for one in asked]
    outcome = Outcome(phase=Phase.COMPLETED, waiting=bool(asked))
    assert (await store.settle(execution.handle, execution.fence, 0, deltas, head, outcome)).accepted


async def asking(flow: Flow, *asked: dict[str, Any]) -> Execution:
    claimed = await flow.claimed()
    assert claimed.execution is not None
    await settled(flow.store, claimed.execution, *asked)
    return await flow.facts(claimed.execution.id)


async def token(store: Store, asked: Execution, question_id: str, digest: str = "d1") -> str:
    made = await store.add_answer_token(asked.id, question_id=question_id, digest=digest, lasts_s=LASTS_S)
    assert made is not None
    return digest


async def found(store: Store, digest: str) -> AnswerToken:
    one = await store.answer_token(digest)
    assert one is not None
    return one


def answering(flow: Flow, asker: Execution, digest: str = "", /, **given: object) -> Any:
    return flow.store.create(flow.new(session_id=asker.session_id, answer_digest=digest, **given))


async def taken(flow: Flow, created: Created, *asked: dict[str, Any], head: str = "h2") -> Execution:
    """A worker takes the answer, and the run ends, perhaps with further questions."""
    execution = created.execution
    assert execution is not None
    await flow.store.dispatched(execution.id)
    assert (await flow.store.begin(execution.id, "b", "w1")).granted
    assert await flow.store.done(execution.id, "b", "thread-1")
    claimed = await flow.store.claim(execution.id, "c", "w1")
    assert claimed.execution is not None
    await settled(flow.store, claimed.execution, *asked, head=head)
    return await flow.facts(execution.id)


async def test_of_many_answers_by_one_token_one_is_taken(store: Store, database_url: str, flow: Flow) -> None:
    """At two servers at once: the others make no execution, and the token names the one that took it."""
    asked = await asking(flow, question("q1"))
    digest = await token(store, asked, "q1")
    assert (await found(store, digest)).standing is Standing.OPEN
    second = Store.open(database_url, now=store._now)
    try:
        calls = [
            (store, second)[n % 2].create(flow.new(session_id=asked.session_id, answer_digest=digest)) for n in range(8)
        ]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await second.close()
    made = [one for one in answers if isinstance(one, Created)]
    assert [type(one) for one in answers if not isinstance(one, Created)] == [AnswerNotTaken] * 7
    assert len(made) == 1
    assert made[0].execution is not None
    used = await found(store, digest)
    assert (used.standing, used.by) == (Standing.USED, made[0].execution.id)
    assert len(await store.runs_of_session(asked.session_id, limit=9)) == 2


async def test_a_token_expires(store: Store, flow: Flow, clock: Clock) -> None:
    """By the database's clock, and never later than its key."""
    asked = await asking(flow, question("q1"))
    short = await store.add_answer_token(
        asked.id, question_id="q1", digest="short", lasts_s=LASTS_S, until=clock.at + 1
    )
    assert short == clock.at + 1
    digest = await token(store, asked, "q1")
    clock.advance(LASTS_S - 1)
    assert (await found(store, "short")).standing is Standing.EXPIRED
    assert (await found(store, digest)).standing is Standing.OPEN
    clock.advance(1)
    with pytest.raises(AnswerNotTaken):
        await answering(flow, asked, digest)
    assert (await found(store, digest)).standing is Standing.EXPIRED


@pytest.mark.parametrize(
    ("sent", "open_after"),
    [
        ({"message": "yes"}, False),
        ({"answers": {"q1": 1}}, False),
        ({"answers": {"q1?": 1}}, False),
        ({"input": {"q1": 1}}, False),
        ({"input": {"amount": 1}}, False),
        ({"asked": {"command": {"resume": {"q1": 1}}}}, False),
        ({"answers": {"q2": 1}}, True),
        ({"input": {"q2?": 1}}, True),
        ({"asked": {"command": {"resume": {"q2": 1}}}}, True),
    ],
)
async def test_an_answer_by_another_way_counts(
    store: Store, flow: Flow, sent: dict[str, Any], open_after: bool
) -> None:
    """From the moment when it is accepted. One that is about other questions leaves the token good, also when these
    are the first execution's and a later one asks the rest again."""
    asked = await asking(flow, question("q1"), question("q2"))
    digest = await token(store, asked, "q1")
    other = await answering(flow, asked, **sent)
    assert other.execution is not None
    for _ in range(2):
        now = await found(store, digest)
        assert (now.standing is Standing.OPEN) is open_after
        assert now.by == ("" if open_after else other.execution.id)
        if other.execution.phase is Phase.PENDING:
            left = [question("q1")] if open_after else []
            other = Created(verdict=other.verdict, execution=await taken(flow, other, *left))
    if open_after:
        last = await answering(flow, asked, digest, answers={"q1": 1})
        assert last.execution is not None


async def test_the_next_question_of_the_same_id_is_another_one(store: Store, flow: Flow) -> None:
    """As breakpoints have it: what a token answers is what was asked when it was made."""
    asked = await asking(flow, question("q1", "How much?"))
    digest = await token(store, asked, "q1")
    other = await answering(flow, asked, message="7")
    second = await taken(flow, other, question("q1", "Sure?"))
    assert (await found(store, digest)).standing is Standing.ANSWERED
    fresh = await token(store, second, "q1", "d2")
    assert (await found(store, fresh)).question["text"] == "Sure?"
    assert (await answering(flow, asked, fresh)).execution is not None


async def test_an_answer_that_was_refused_leaves_it_good(store: Store, flow: Flow) -> None:
    """A run that failed before it took the answer did not answer."""
    asked = await asking(flow, question("q1"))
    digest = await token(store, asked, "q1")
    other = await answering(flow, asked, message="two")
    assert (await found(store, digest)).standing is Standing.ANSWERED
    await store.request_cancel(other.execution.id, "somebody")
    assert (await found(store, digest)).standing is Standing.OPEN


async def test_a_token_goes_with_its_execution_and_comes_back_with_a_withdrawn_one(store: Store, flow: Flow) -> None:
    """An answer that no broker took was none; a deleted execution has no tokens."""
    asked = await asking(flow, question("q1"))
    digest = await token(store, asked, "q1")
    made = await answering(flow, asked, digest)
    assert await store.withdraw(made.execution.id)
    assert (await found(store, digest)).standing is Standing.OPEN
    assert await store.delete(asked.id)
    assert await store.answer_token(digest) is None
    assert await store.add_answer_token("nobody", question_id="q", digest="x", lasts_s=1) is None
