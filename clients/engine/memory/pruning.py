"""Finds the checkpoints of a thread that nobody can need any more, from their links to each other.

A turn begins at the head. Checkpoints before the head are needed only for a channel that is stored as additions
(LangGraph's `DeltaChannel`): back to the checkpoint where the channel was last stored whole. Of these checkpoints only
that channel stays. Checkpoints after the head stay too: turns that began at the head are after it, and the given head
may be an old one. All others are removed: those before the head, those of runs that were given up, and those of calls
of sub-graphs (sub-agents) that have ended.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

CALL = ":"
"""Stands before the task id in the namespace of one call of a sub-graph. The namespace of a sub-graph that keeps its
own memory does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint. `namespace`: empty for the main conversation. `root`: the checkpoint of the main conversation under
    which it was made. `deltas`: the channels that it does not hold whole, but as additions since an earlier checkpoint,
    with the number of these additions."""

    namespace: str
    id: str
    parent: str
    root: str
    deltas: Mapping[str, int] = field(default_factory=dict)


def saved(namespace: str, id: str, parent: str | None, metadata: Mapping[str, Any]) -> Saved:
    """The checkpoint in a row of the database."""
    return Saved(
        namespace=namespace,
        id=id,
        parent=parent or "",
        root=str((metadata.get("parents") or {}).get("", "")),
        deltas={name: count[0] for name, count in (metadata.get("counters_since_delta_snapshot") or {}).items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """By namespace. `gone`: ids to remove. `stripped`: ids of checkpoints of which only the named channels stay."""

    gone: Mapping[str, list[str]] = field(default_factory=dict)
    stripped: Mapping[str, dict[str, frozenset[str]]] = field(default_factory=dict)


def unneeded(thread: Iterable[Saved], head: str, also: Collection[str] = ()) -> Prunable:
    """What to remove of a thread; nothing if the head is not in it. `also`: further checkpoints to begin a turn at."""
    spaces: dict[str, dict[str, Saved]] = defaultdict(dict)
    for one in thread:
        spaces[one.namespace][one.id] = one
    main = spaces[""]
    if head not in main:
        return Prunable()
    before, after = _ancestors(main, [head]), _descendants(main, head)
    gone: dict[str, list[str]] = {}
    stripped: dict[str, dict[str, frozenset[str]]] = {}
    for namespace, there in spaces.items():
        if not namespace:
            whole = after | {id for id in also if id in main}
        else:
            # The checkpoints of a call are needed while the step that made the call is the last step. The first of them
            # may be saved before the main checkpoint that it belongs to.
            call = CALL in namespace
            under = (after if call else before | after) | set(also)
            # Ids grow with time: a missing `root` above the head is not saved yet, a missing one below it was removed.
            live = {
                id
                for id, one in there.items()
                if one.root in under or (one.root not in main and (not call or one.root > head))
            }
            whole = live - _ancestors(there, (there[id].parent for id in live))
        chain = _chain(there, whole)
        gone[namespace] = [id for id in there if id not in whole and id not in chain]
        stripped[namespace] = {id: names for id, names in chain.items() if id not in whole}
    return Prunable(
        gone={namespace: ids for namespace, ids in gone.items() if ids},
        stripped={namespace: ids for namespace, ids in stripped.items() if ids},
    )


def _chain(there: Mapping[str, Saved], of: Iterable[str]) -> dict[str, frozenset[str]]:
    """The ancestors from which the checkpoints `of` are put together, each with the channels that are needed of it."""
    found: dict[str, frozenset[str]] = {}
    for id in of:
        for name, updates in there[id].deltas.items():
            path, at, whole = [], there[id].parent, False
            while at in there and not whole:
                path.append(at)
                # A channel that is not in a checkpoint's `deltas` is stored whole there.
                whole, at = name not in there[at].deltas, there[at].parent
            # Otherwise the channel was never written.
            if updates or whole:
                found |= {one: found.get(one, frozenset()) | {name} for one in path}
    return found


def _ancestors(there: Mapping[str, Saved], of: Iterable[str]) -> set[str]:
    """The ancestors of the checkpoints `of`, and these themselves."""
    found: set[str] = set()
    for id in of:
        while id in there and id not in found:
            found.add(id)
            id = there[id].parent
    return found


def _descendants(there: Mapping[str, Saved], of: str) -> set[str]:
    """The descendants of the checkpoint `of`, and `of` itself."""
    children: dict[str, list[str]] = defaultdict(list)
    for one in there.values():
        children[one.parent].append(one.id)
    found, open_ = {of}, [of]
    while open_:
        fresh = [child for child in children[open_.pop()] if child not in found]
        found.update(fresh)
        open_ += fresh
    return found
