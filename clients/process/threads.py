"""Threads for the process's own work for runs: set-up, builds, files, the result backend.

Users' code never runs on them; it has the event loop's default threads, see `run_threads.py`. So a tool that never
returns cannot block the set-up of the next run.

    own(work, *args)      on a few threads that all of this work shares
    apart(work, *args)    on a thread of its own, for work that may never return
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

OWN_THREADS = 16
_own = ThreadPoolExecutor(OWN_THREADS, thread_name_prefix="set-up")


def _renew() -> None:
    """Make the pool again after a fork, which inherits it without its threads: work would wait for ever for one of
    them."""
    global _own
    _own = ThreadPoolExecutor(OWN_THREADS, thread_name_prefix="set-up")


os.register_at_fork(after_in_child=_renew)

T = TypeVar("T")


async def own(work: Callable[..., T], *args: Any) -> T:
    """`work(*args)` in a thread of ours, in this context. A cancel does not stop the work."""
    call = partial(copy_context().run, work, *args)
    return await asyncio.get_running_loop().run_in_executor(_own, call)


async def apart(work: Callable[..., T], *args: Any, name: str) -> T:
    """`work(*args)` in a new thread that nothing waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(answer: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            answer(value)

    def run() -> None:
        try:
            answer: tuple[Callable[[Any], None], Any] = (done.set_result, work(*args))
        except StopIteration as error:  # no future accepts it
            answer = (done.set_exception, RuntimeError(repr(error)))
        except BaseException as error:
            answer = (done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits any more
            loop.call_soon_threadsafe(tell, *answer)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
