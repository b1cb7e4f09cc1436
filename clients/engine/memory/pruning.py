"""Which checkpoints of a thread nobody can need any more, told from how they hang together.

A turn begins at the head. What came before it is needed only where a channel is stored as what each checkpoint added
(LangGraph's `DeltaChannel`): back to where it was last stored whole, and of those checkpoints no other channel. Turns
that began at the head hang behind it, and the head that is named here may be an old one, so what comes after it stays
too. What goes is the rest: what was before, what runs left that were given up, and what is inside of calls of
sub-graphs (sub-agents) that are over.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

CALL = ":"
"""In the namespace of one call of a sub-graph, before its task's id. A sub-graph that keeps its own memory has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint: `namespace` is empty for the main conversation; `root` is the main one's that it was made under.
    `deltas`: the channels of which it holds at most what was added since an earlier one, with how often that was."""

    namespace: str
    id: str
    parent: str
    root: str
    deltas: Mapping[str, int] = field(default_factory=dict)


def saved(namespace: str, id: str, parent: str | None, metadata: Mapping[str, Any]) -> Saved:
    """Of a checkpoint's row."""
    return Saved(
        namespace=namespace,
        id=id,
        parent=parent or "",
        root=str((metadata.get("parents") or {}).get("", "")),
        deltas={name: count[0] for name, count in (metadata.get("counters_since_delta_snapshot") or {}).items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prunable:
    """By namespace: ids that go, and ids of which only the named channels stay."""

    gone: Mapping[str, list[str]] = field(default_factory=dict)
    stripped: Mapping[str, dict[str, frozenset[str]]] = field(default_factory=dict)


def unneeded(thread: Iterable[Saved], head: str, also: Collection[str] = ()) -> Prunable:
    """`also`: further checkpoints that a turn may begin at. Nothing if the head is not there: then nothing is known."""
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
            # A call lives as long as the step that made it is the last one. Its first checkpoint may be saved before
            # the main one that it belongs to.
            call = CALL in namespace
            under = (after if call else before | after) | set(also)
            # Ids grow with time: the main checkpoint of an older one is gone.
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
    """The ancestors that these are put together from, each with the channels that are wanted of it."""
    found: dict[str, frozenset[str]] = {}
    for id in of:
        for name, updates in there[id].deltas.items():
            path, at, whole = [], there[id].parent, False
            while at in there and not whole:
                path.append(at)
                # One that is not open there is stored whole there.
                whole, at = name not in there[at].deltas, there[at].parent
            # Otherwise it never was written.
            if updates or whole:
                found |= {one: found.get(one, frozenset()) | {name} for one in path}
    return found


def _ancestors(there: Mapping[str, Saved], of: Iterable[str]) -> set[str]:
    """With `of` themselves."""
    found: set[str] = set()
    for id in of:
        while id in there and id not in found:
            found.add(id)
            id = there[id].parent
    return found


def _descendants(there: Mapping[str, Saved], of: str) -> set[str]:
    """With `of` itself."""
    children: dict[str, list[str]] = defaultdict(list)
    for one in there.values():
        children[one.parent].append(one.id)
    found, open_ = {of}, [of]
    while open_:
        fresh = [child for child in children[open_.pop()] if child not in found]
        found.update(fresh)
        open_ += fresh
    return found
