"""What is sent of all that could be: each kind of case, and a bounded number of them."""

import tomllib
from pathlib import Path

import pytest

from tests.fuzz.pace import ENDLESS, Progress, Thinning


@pytest.mark.parametrize("of_a_kind", [1, 3])
def test_of_each_kind_the_first_are_sent_and_ever_fewer_of_the_rest(of_a_kind: int) -> None:
    """However many cases a schema has: a thousand times as many are a few times as many requests."""
    for made, most in ((1, 1), (of_a_kind, of_a_kind), (1000, 14 * of_a_kind)):
        thinning = Thinning(of_a_kind=of_a_kind, seed=7)
        sent = [thinning.sends("a kind") for _ in range(made)]
        assert all(sent[:of_a_kind])
        assert sum(sent) <= most
    assert any(sent[100:])


def test_a_kind_is_thinned_by_itself() -> None:
    """The first case of a rare kind is sent whatever came before it."""
    thinning = Thinning(of_a_kind=1, seed=7)
    for _ in range(1000):
        thinning.sends("frequent")
    assert thinning.sends("rare")


def test_the_same_seed_sends_the_same_cases() -> None:
    """Another seed sends others."""
    chosen: dict[int, list[list[bool]]] = {}
    for seed in (1, 1, 2):
        thinning = Thinning(of_a_kind=2, seed=seed)
        chosen.setdefault(seed, []).append([thinning.sends("a kind") for _ in range(500)])
    assert chosen[1][0] == chosen[1][1] != chosen[2][0]


def test_nothing_is_thinned_unless_it_is_asked_for() -> None:
    """A run of schemathesis by hand sends all that it makes."""
    thinning = Thinning(of_a_kind=0, seed=0)
    assert all(thinning.sends("a kind") for _ in range(500))


def test_each_operation_is_told_when_the_next_one_begins() -> None:
    """A run that is cut says what it reached; the requests of a check count for the case that they check."""
    told: list[str] = []
    progress = Progress(tell=told.append)
    for phase, operation, status in (("coverage", "GET /a", 200), ("", "GET /a", 401), ("coverage", "GET /b", 404)):
        progress.count(phase, operation, status)
    assert [line.partition(" in ")[0] for line in told] == ["coverage GET /a: 2"]
    progress.close()
    progress.close()
    assert [line.partition(" in ")[0] for line in told] == ["coverage GET /a: 2", "coverage GET /b: 1"]
    assert told[0].endswith("(1 x 200, 1 x 401)")
    for operation in ("POST /a", "GET /a", "POST /a"):
        progress.count("stateful", operation, 200)
    progress.close()
    assert told[2].startswith("stateful chains of operations: 3 in ")


def test_a_stream_that_does_not_end_is_read_for_a_moment() -> None:
    """Each of those that are thinned for it, and each of those alone, has a time of its own in schemathesis.toml."""
    read = tomllib.loads((Path(__file__).parent / "schemathesis.toml").read_text())
    short = [one["include-path"] for one in read["operations"] if one.get("request-timeout", 30) <= 1]
    assert sorted(short) == sorted(operation.partition(" ")[2] for operation in ENDLESS)
