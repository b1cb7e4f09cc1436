"""A child of the prefork pool whose end the kernel tells a moment late is noticed all the same."""

from typing import Any

import pytest

from agent_runner.tasks.worker.forks.fork_pool import FIRST_LOOK_S, LAST_LOOK_S, ForkPool


class Hub:
    """Celery's event loop, as far as it is asked to call later."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Any]] = []

    def call_later(self, pause_s: float, call: Any, *args: Any) -> None:
        self.later.append((pause_s, lambda: call(*args)))


@pytest.mark.parametrize(("looks", "noticed"), [(1, True), (4, True), (100, False)])
def test_a_child_is_looked_for_until_it_is_noticed(monkeypatch: pytest.MonkeyPatch, looks: int, noticed: bool) -> None:
    """The pool looks again, after longer and longer pauses, and leaves a child that lives on to the pool's own look."""
    pool: Any = ForkPool.Pool.__new__(ForkPool.Pool)
    hub, child, made = Hub(), object(), [0]
    pool._pool = [child]

    def look() -> None:
        made[0] += 1
        if made[0] == looks:
            pool._pool.clear()

    monkeypatch.setattr(pool, "maintain_pool", look, raising=False)
    monkeypatch.setattr(pool, "_untrack_child_process", lambda proc, hub: None, raising=False)
    pool._event_process_exit(hub, child)
    pauses = []
    while hub.later:
        pause_s, call = hub.later.pop()
        pauses.append(pause_s)
        call()
    assert (not pool._pool) is noticed
    assert pauses == [FIRST_LOOK_S * 2**n for n in range(len(pauses))]
    assert all(pause_s <= LAST_LOOK_S for pause_s in pauses)
    if noticed:
        assert made == [looks]
