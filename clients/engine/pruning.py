"""Which checkpoints of a thread nobody can need any more, told from how they hang together.

A turn begins at the head. It needs the head and all that came before it: a long conversation is stored as what each
checkpoint added. Turns that began at the head hang behind it, and the head that is named here may be an old one, so
what comes after it stays too. What goes are branches: what runs left that were given up, and what is inside of calls
of sub-graphs (sub-agents) that are over.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CALL = ":"
"""In the namespace of one call of a sub-graph, before its task's id. A sub-graph that keeps its own memory has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint: `namespace` is empty for the main conversation; `root` is the main one's that it was made under."""

    namespace: str
    id: str
    parent: str
    root: str


def unneeded(saved: Iterable[Saved], head: str) -> dict[str, list[str]]:
    """Ids by namespace. Nothing if the head is not there: then nothing is known."""
    parents: dict[str, dict[str, str]] = defaultdict(dict)
    roots: dict[tuple[str, str], str] = {}
    for one in saved:
        parents[one.namespace][one.id] = one.parent
        roots[one.namespace, one.id] = one.root
    main = parents[""]
    if head not in main:
        return {}
    before, after = _ancestors(main, [head]), _descendants(main, head)
    goes = {"": [id for id in main if id not in before and id not in after]}
    for namespace, ids in parents.items():
        if not namespace:
            continue
        # A call lives as long as the step that made it is the last one. Its first checkpoint may be saved before the
        # main one that it belongs to.
        under = after if CALL in namespace else before | after
        kept = _ancestors(ids, [id for id in ids if (root := roots[namespace, id]) in under or root not in main])
        goes[namespace] = [id for id in ids if id not in kept]
    return {namespace: ids for namespace, ids in goes.items() if ids}


def _ancestors(parents: Mapping[str, str], of: Iterable[str]) -> set[str]:
    """With `of` themselves."""
    found: set[str] = set()
    for id in of:
        while id in parents and id not in found:
            found.add(id)
            id = parents[id]
    return found


def _descendants(parents: Mapping[str, str], of: str) -> set[str]:
    """With `of` itself."""
    children: dict[str, list[str]] = defaultdict(list)
    for id, parent in parents.items():
        children[parent].append(id)
    found, open_ = {of}, [of]
    while open_:
        fresh = [child for child in children[open_.pop()] if child not in found]
        found.update(fresh)
        open_ += fresh
    return found
