"""Random sequences of calls by two orgs, and walks through their lists while these sequences go on."""

from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.control_plane.execution_verbs import SIZES, ExecutionVerbs
from tests.control_plane.listings import Listing
from tests.control_plane.resource_verbs import Draw
from tests.control_plane.seen import modelled
from tests.control_plane.served import Served

SHARES = {
    "get_execution": 1,  # the first is drawn more often than its share
    "get_resource": 1,
    "look_at_the_other": 1,
    "create_agent": 2,
    "create_instance": 3,
    "create_session": 3,
    "create_execution": 6,
    "report": 8,
    "update_execution": 6,
    "update_resource": 3,
    "delete_execution": 3,
    "delete_resource": 2,
    "read_a_list": 10,
}
WHAT = [verb for verb, share in SHARES.items() for _ in range(share)]
ADD, REMOVE = "add what is listed", "remove one of the list"
MEANWHILE = [ADD, REMOVE, ADD, REMOVE, "delete_resource", "report", "update_execution", "update_resource"]
MOST_BREAKS = 3
"""So many times a walk is disturbed: what comes in between makes the next walk longer."""


class ControlPlane(RuleBasedStateMachine):
    served: ClassVar[Served]

    @initialize(data=st.data())
    def two_orgs(self, data: Any) -> None:
        """Each with something to list."""
        self.orgs = [ExecutionVerbs(self.served) for _ in range(2)]
        for org in self.orgs:
            for verb in (
                "create_agent",
                "create_session",
                *["create_execution"] * data.draw(st.sampled_from([5, 3, 1])),
            ):
                getattr(org, verb)(data.draw)

    @rule(which=st.integers(0, 1), what=st.sampled_from(WHAT), data=st.data())
    def step(self, which: int, what: str, data: Any) -> None:
        org, other = self.orgs[which], self.orgs[1 - which]
        match what:
            case "look_at_the_other":
                org.looks_at(other, data.draw)
            case "read_a_list":
                read_a_list(org, data.draw)
            case _:
                getattr(org, what)(data.draw)


def read_a_list(org: ExecutionVerbs, draw: Draw) -> None:
    listing, size = org.listing(draw), draw(SIZES)
    by_number = listing.numbered and draw(st.sampled_from([False, False, False, True]))
    if by_number or not listing.tokens:
        org.pages_by_number(listing, size)
    else:
        walk(org, listing, size, draw)


def walk(org: ExecutionVerbs, listing: Listing, size: int, draw: Draw) -> None:
    """Page by page by the tokens, with calls in between: each page is what is then older than the last entry seen."""
    before = always = {entry.id for entry in listing.expected(org.model)}
    seen: list[str] = []
    oldest, token, breaks = float("inf"), "", 0
    while True:
        everything = listing.expected(org.model)
        always = always & {entry.id for entry in everything}
        rest = [entry for entry in everything if entry.number < oldest]
        page = org.run(listing.read(org.caller, size, token))
        assert page.entries == [modelled(entry) for entry in rest[:size]]
        assert page.pages == -(-len(everything) // size)
        assert bool(page.next_token) == (len(rest) > size)
        seen += [entry.id for entry in rest[:size]]
        if not page.next_token:
            break
        oldest, token = rest[size - 1].number, page.next_token
        breaks += 1
        for _ in range(draw(st.sampled_from([1, 2, 0])) if breaks <= MOST_BREAKS else 0):
            verb = draw(st.sampled_from(MEANWHILE))
            if verb != REMOVE:
                getattr(org, listing.adds if verb == ADD else verb)(draw)
            elif now := listing.expected(org.model):
                org.remove(draw(st.sampled_from(now)))
    after = {entry.id for entry in listing.expected(org.model)}
    assert len(set(seen)) == len(seen)
    assert always & after <= set(seen)
    org.saw("walk", listing.name)
    for what, happened in (
        ("several pages", len(seen) > size),
        ("added meanwhile", after - before),
        ("removed meanwhile", before - after),
    ):
        if happened:
            org.saw("walk", what)


def machine(served: Served, name: str) -> type[ControlPlane]:
    return type(name, (ControlPlane,), {"served": served})
