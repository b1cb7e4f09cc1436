"""Which step comes how often. One weighted draw for each: every example meets everything in about these shares."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.model.server_verbs import attempts, profiles
from tests.model.worker_verbs import WorkerVerbs
from tests.model.world import World

SHARES = {
    "append": 6,  # the first is drawn more often than its share
    "works": 4,
    "go_on": 3,
    "beat": 2,
    "settle": 4,
    "hand_back": 4,
    "delivery_is_early": 3,
    "delivery_comes_twice": 2,
    "delivery_comes_late": 1,
    "waits_behind_others": 3,
    "create": 5,
    "publish_again": 1,
    "publish_what_is_due": 2,
    "cancel": 6,
    "fail": 2,
    "told_late": 2,
    "attempt_fails": 5,
    "withdraw": 2,
    "delete": 1,
    "presence": 6,
    "time_passes": 5,
    "snapshot": 2,
    "restart": 1,
}


class StoreAndModel(WorkerVerbs):
    @initialize(
        profile=profiles,
        steps=st.sampled_from([5, 5, 5, 2, 0]),
        behind=st.integers(0, 2),
        later=profiles,
        tries=attempts,
    )
    def begin_somewhere(
        self, profile: dict[str, float], steps: int, behind: int, later: dict[str, float], tries: int
    ) -> None:
        """Mostly at a run that a worker has claimed."""
        self.agree = False
        for owner in self.owners[:2]:
            self.hello(owner)
        self.add(profile, key="k1", tries=tries)
        self.way_on(self.owners[0], {}, steps)
        for _ in range(behind):
            self.add(later)

    @rule(what=st.sampled_from([verb for verb, share in SHARES.items() for _ in range(share)]), data=st.data())
    def step(self, what: str, data: Any) -> None:
        self.agree = False
        if not self.model.rows:
            what = "go_on"
        getattr(self, what)(data.draw)

    @invariant()
    def the_same(self) -> None:
        self.compare_touched()


def machine(world: World, name: str) -> type[StoreAndModel]:
    return type(name, (StoreAndModel,), {"world": world})
