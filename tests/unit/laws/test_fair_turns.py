"""Whose turn it is, as a function: shares follow the weights, caps hold, nobody gathers turns or starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.status.requests.fair_turns import (
    ANNOTATION,
    HIGHEST,
    LOWEST,
    FairTurns,
    PriorityError,
    Standing,
    next_turns,
    priority_of,
)

orgs = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(1, 60), st.integers(1, 5)), min_size=1)


def standing(org: str, ready: int, published: int = 0, passed: float = 0.0) -> Standing:
    return Standing(queue="q", org=org, ready=ready, published=published, passed=passed)


@given(orgs, st.integers(1, 80))
def test_shares_follow_the_weights(given_orgs: dict[str, tuple[int, int]], most: int) -> None:
    """While two orgs have work, their turns differ by no more than one turn of each from their weights."""
    turns = FairTurns(queue_published=10_000, weights={org: weight for org, (_, weight) in given_orgs.items()})
    standings = [standing(org, ready) for org, (ready, _) in given_orgs.items()]
    found = next_turns(turns, standings, {}, {}, most)
    assert len(found) == min(most, sum(ready for ready, _ in given_orgs.values()))
    taken: Counter[str] = Counter()
    for turn in found:
        taken[turn.org] += 1
        backlogged = [org for org, (ready, _) in given_orgs.items() if taken[org] < ready]
        shares = [taken[org] / given_orgs[org][1] for org in backlogged]
        if shares:
            assert max(shares) - min(shares) <= 1 + 1e-9
    assert all(taken[org] <= ready for org, (ready, _) in given_orgs.items())


@given(orgs, st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_no_cap_is_passed(given_orgs: dict[str, tuple[int, int]], queue: int, org: int, running: int) -> None:
    """What is on the broker and what is under way stay within the caps, and room is never left while one could go."""
    turns = FairTurns(queue_published=queue, org_published=org, org_running=running)
    busy = {name: weight for name, (_, weight) in given_orgs.items()}
    standings = [standing(name, ready, published=weight % 2) for name, (ready, weight) in given_orgs.items()]
    before = {one.org: one.published for one in standings}
    taken = Counter(turn.org for turn in next_turns(turns, standings, busy, {}, 1000))
    published = {name: before[name] + taken[name] for name in before}
    room = sum(published.values()) < queue
    assert not taken or sum(published.values()) <= queue
    for name, (ready, _) in given_orgs.items():
        if taken[name]:
            assert not org or published[name] <= org
            assert not running or busy[name] + taken[name] <= running
        could = taken[name] < ready and (not org or published[name] < org)
        assert not (room and could and (not running or busy[name] + taken[name] < running))


def test_who_comes_back_gathered_no_turns() -> None:
    """An org that had no work for a hundred turns gets every second one, and not the next hundred."""
    turns = FairTurns(queue_published=100)
    standings = [standing("a", 50, passed=101.0), standing("b", 50, passed=1.0)]
    found = [turn.org for turn in next_turns(turns, standings, {}, {"q": 100.0}, 10)]
    assert Counter(found) == {"a": 5, "b": 5}


def test_one_slot_is_shared_by_turns() -> None:
    """With room for one message at a time, decided anew each time, three orgs come one after the other."""
    turns, passed, clock, order = FairTurns(queue_published=1), dict.fromkeys("abc", 0.0), 0.0, ""
    for _ in range(9):
        standings = [standing(org, 9, passed=at) for org, at in passed.items()]
        (turn,) = next_turns(turns, standings, {}, {"q": clock}, 5)
        passed[turn.org], clock, order = turn.passed, turn.began, order + turn.org
    assert sorted(order[:3]) == sorted(order[3:6]) == sorted(order[6:]) == list("abc")


def test_a_priority_is_a_whole_number_in_its_range() -> None:
    """An execution's own overrides its agent's; anything else is refused in words."""
    assert priority_of({}, {}) == 0
    assert priority_of({ANNOTATION: "3"}, {}) == 3
    assert priority_of({ANNOTATION: "3"}, {ANNOTATION: str(LOWEST)}) == LOWEST
    for wrong in ("11", "-11", "1.5", "high", "9" * 5000):
        with pytest.raises(PriorityError, match=f"{ANNOTATION} must be a whole number from {LOWEST} to {HIGHEST}"):
            priority_of({}, {ANNOTATION: wrong})
