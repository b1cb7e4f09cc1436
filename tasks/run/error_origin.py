"""Where an agent's exception came from: its class, the graph's node, the line of the user's code, a short traceback.

Shown beside the original error, so that whoever wrote the graph finds the line without the worker's log. Values of
variables are never shown; the caller masks the texts.
"""

import site
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agent_runner
from agent_runner.clients.engine.user_graphs.grouped_errors import errors_in

MAX_TRACEBACK_CHARS = 8_192
MOST_LINKS = 8
_NODE_NOTE = "During task with name '"
"""How LangGraph marks an exception that leaves a node (langgraph 1.2, `pregel/_retry.py`)."""

_PACKAGES = tuple({*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")})
_NOT_THE_USERS = (
    *(f"{folder}/" for folder in (*_PACKAGES, sysconfig.get_path("stdlib"), *agent_runner.__path__)),
    "<frozen",
)


def origin_of(error: BaseException) -> dict[str, Any]:
    """`error_class`, `error_node`, `error_at` (`graphs/plan.py:12 in load`) and `traceback`, each if it is known. Of a
    group of errors the place is that of the first one, and the class is theirs if they have the same."""
    seen, place = _users(error)
    at = next((f"{_short(f.filename)}:{f.lineno} in {f.name}" for f in reversed(_frames(place))), None)
    classes = {_class_of(one) for one in errors_in(seen)}
    facts = {
        "error_class": classes.pop() if len(classes) == 1 else _class_of(seen),
        "error_node": next(_nodes(error), None),
        "error_at": at,
        "traceback": _bounded(_traceback(error)),
    }
    return {name: value for name, value in facts.items() if value}


def _class_of(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _nodes(error: BaseException) -> Iterator[str]:
    """The nodes that the exception left, the innermost first."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, str) and note.startswith(_NODE_NOTE):
            yield note.removeprefix(_NODE_NOTE).partition("'")[0]


def _users(error: BaseException) -> tuple[BaseException, BaseException]:
    """The error, and the one whose place is told. Of an error that this worker raised because of another (a graph that
    could not be made) they are those of the other one, if it passed the user's code."""
    links = [error]
    while type(links[-1]).__module__.startswith("agent_runner.") and len(links) < MOST_LINKS:
        if (cause := links[-1].__cause__) is None:
            break
        links.append(cause)
    for link in reversed(links):
        for place in (errors_in(link)[0], link):
            if any(map(_is_users, _frames(place))):
                return link, place
    return error, errors_in(error)[0]


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Of the user's own code; all frames if the exception passed none of it."""
    frames = list(traceback.extract_tb(error.__traceback__))
    return [frame for frame in frames if _is_users(frame)] or frames


def _is_users(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_NOT_THE_USERS)


def _traceback(error: BaseException) -> str:
    """Without the frames of the worker and of LangGraph that every node is called through, for each cause alike."""
    try:
        told = traceback.TracebackException.from_exception(error)
    except RecursionError:  # groups in groups, a thousand deep
        return ""
    left = [told]
    while left:
        one = left.pop()
        first = next((number for number, frame in enumerate(one.stack) if _is_users(frame)), 0)
        one.stack = traceback.StackSummary.from_list(one.stack[first:])
        for frame in one.stack:
            frame.filename = _short(frame.filename)
        left += [part for part in (one.__cause__, one.__context__, *(one.exceptions or ())) if part is not None]
    return "".join(told.format())


def _short(filename: str) -> str:
    """The path below the folder of packages or the current one; else its last two parts."""
    for folder in (*_PACKAGES, str(Path.cwd())):
        if filename.startswith(f"{folder}/"):
            return filename[len(folder) + 1 :]
    return "/".join(Path(filename).parts[-2:])


def _bounded(text: str) -> str:
    """Its end is kept whole: there stands the exception."""
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    return f"[{len(text) - MAX_TRACEBACK_CHARS} characters before this are left out]\n{text[-MAX_TRACEBACK_CHARS:]}"
