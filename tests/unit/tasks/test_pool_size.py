"""The number of slots of the `async` pool, while tasks run and wait."""

import threading

from agent_runner.tasks.worker.pool import TaskPool
from tests.support.waiting import eventually

SLOTS, MORE = 2, 3


def test_a_grown_pool_uses_all_of_its_slots() -> None:
    """Also after tasks that waited for a slot, whose threads the executor counts as idle."""
    pool = TaskPool(limit=SLOTS)
    ended, running, go_on = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

    def hold() -> None:
        running.release()
        go_on.wait()

    try:
        for _ in range(4 * SLOTS):
            pool.on_apply(lambda: None, callback=lambda _: ended.release())
        for _ in range(4 * SLOTS):
            assert ended.acquire(timeout=10)
        eventually(lambda: not pool._slots, what="free slots")
        pool.grow(MORE)
        for _ in range(SLOTS + MORE):
            pool.on_apply(hold)
        for number in range(SLOTS + MORE):
            assert running.acquire(timeout=10), f"{number} of {SLOTS + MORE} run"
    finally:
        go_on.set()
        pool.executor.shutdown()
