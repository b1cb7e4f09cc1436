"""Threads that ended runs left behind: the run of each one, and the user's function that it is in.

What a thread was given is noted when it begins (`called`, `watch_pools`). Its frames have that too, but to read another
thread's variables (`f_locals`) while it runs has ended workers with SIGSEGV on Python 3.11.
"""

import gc
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.thread import _WorkItem
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import agent_runner

SHOWN = 3
_looking = threading.Lock()
_at_work: dict[int, Any] = {}
"""What each thread was given, by its ident: a function, or the item of a pool."""
_run_item = _WorkItem.run
_OURS = f"{Path(agent_runner.__file__).absolute().parent}/"
_LIBRARIES = tuple(
    {
        *(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        _OURS,
        "<frozen",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A thread of a run that is over. `place` is a function of the user's, `fetch (crawl.py:18)`, or `time.sleep` where
    such a function was itself the thread's work."""

    owner: str
    place: str


def frames_now() -> dict[int, FrameType]:
    """The innermost frame of each thread, by thread ident.

    Without the garbage collector: in Python 3.11 the call holds the lock of the list of threads, and makes objects. If
    that begins a collection that frees a `threading.local`, the process waits for itself with the interpreter's lock
    in hand, for ever.
    """
    with _looking:
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if collects:
                gc.enable()


def places(owners: Mapping[int, str]) -> list[Left]:
    """The places where the threads with these idents are now. Those whose work has just ended are left out."""
    frames = frames_now()
    found = [(owner, _place(ident, frames[ident])) for ident, owner in sorted(owners.items()) if ident in frames]
    return [Left(owner=owner, place=place) for owner, place in found if place]


def called(work: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Everything that a run's thread does is called here, so that `places` finds what it was given."""
    return _noted(work, lambda: work(*args, **kwargs))


def watch_pools() -> None:
    """From now on `nested` finds the threads of pools. May be called again."""
    _WorkItem.run = _watched_run  # type: ignore[assignment,method-assign]


def _watched_run(item: "_WorkItem[Any]") -> None:
    _noted(item, lambda: _run_item(item))


def _noted(given: Any, work: Callable[[], Any]) -> Any:
    """Does `work` on this thread, which was given that."""
    ident = threading.get_ident()
    _at_work[ident] = given
    try:
        return work()
    finally:
        _at_work.pop(ident, None)


def said(left: Sequence[Left]) -> str:
    """A clause for the end of a sentence; empty for no threads."""
    if not left:
        return ""
    often = Counter(one.place for one in left).most_common()
    named = ", ".join(f"{count} in {place}" if len(often) > 1 else place for place, count in often[:SHOWN])
    more = f" and {len(often) - SHOWN} more places" if len(often) > SHOWN else ""
    threads = "1 thread of it has" if len(left) == 1 else f"{len(left)} threads of it have"
    return f"; {threads} not come back: {named}{more}"


def nested(owner_of: Callable[[], str]) -> dict[int, str]:
    """The owners of the working threads in langchain's pools that a run's own threads created, by thread ident.

    Such a pool runs each work item in a copy of the context of its submitter, and that context names the run.
    """
    found = {}
    for ident, work in _at_work.copy().items():
        call = work.fn if isinstance(work, _WorkItem) else None
        context = getattr(call.func, "__self__", None) if isinstance(call, partial) else None
        if isinstance(context, Context) and (owner := _read(context, owner_of)):
            found[ident] = owner
    return found


def _read(context: Context, owner_of: Callable[[], str]) -> str:
    """Reads in a copy, because the working thread has entered the context itself."""
    return context.copy().run(owner_of)


_NOTED = _noted.__code__


def _place(ident: int, innermost: FrameType) -> str:
    """The innermost function that is not in a library. Where there is none, because the work itself is a function of a
    library or of C (Python has no frame for it): its name, else the innermost function that is not ours. Empty if the
    thread is not at work."""
    frame: FrameType | None = innermost
    near = None
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_LIBRARIES):
            return _shown(frame)
        if frame.f_code is _NOTED:
            work = _at_work.get(ident)
            return _name(work.fn if isinstance(work, _WorkItem) else work) or _shown(near or innermost)
        if near is None and not file.startswith(_OURS):
            near = frame
        frame = frame.f_back
    return ""


def _shown(frame: FrameType) -> str:
    return f"{frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def _name(work: Any) -> str:
    """`time.sleep`. Empty for what has no name of its own, such as a function that langchain wraps around another."""
    while isinstance(work, partial):
        within = isinstance(getattr(work.func, "__self__", None), Context)
        work = work.args[0] if within and work.args else work.func
    module, name = getattr(work, "__module__", None), str(getattr(work, "__qualname__", ""))
    if "<" in name:
        return ""
    return f"{module}.{name}" if module and name else name
