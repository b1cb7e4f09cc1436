"""Tags and labels as rows, so that a list can search the whole table. The database deletes them with their row
(cascade)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, delete, exists, insert

from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import execution_labels, execution_tags, executions, resource_tags, resources

_E, _R, _L = execution_tags.c, resource_tags.c, execution_labels.c
_M = execution_labels.alias("other").c
MAX_LABEL = 255
"""In characters: an entry of an index has a limit."""
_O, _P = execution_tags.alias("other").c, resource_tags.alias("other").c


def put_execution_tags(connection: Connection, handle: int, document: Mapping[str, Any]) -> None:
    """Write the tags and labels of an execution that has none yet. `document` has them in `metadata`."""
    if tags := _tags_in(document):
        connection.execute(insert(execution_tags), [{"handle": handle, "tag": tag} for tag in tags])
    if labels := labels_in(document):
        connection.execute(insert(execution_labels), [{"handle": handle, "label": label} for label in labels])


def replace_execution_tags(connection: Connection, handle: int, document: Mapping[str, Any]) -> None:
    connection.execute(delete(execution_tags).where(_E.handle == handle))
    connection.execute(delete(execution_labels).where(_L.handle == handle))
    put_execution_tags(connection, handle, document)


def replace_resource_tags(
    connection: Connection, kind: str, id: str, document: Mapping[str, Any], *, is_new: bool
) -> None:
    """`is_new`: there are no rows yet."""
    if not is_new:
        connection.execute(delete(resource_tags).where(_R.kind == kind, _R.id == id))
    if tags := _tags_in(document):
        connection.execute(insert(resource_tags), [{"kind": kind, "id": id, "tag": tag} for tag in tags])


@dataclass(frozen=True, slots=True)
class Chosen:
    """Where a list reads from, by which key it is ordered, and under which conditions.

    With tags, a list reads the index of the first tag, in its order. So the cost of a page depends on its size, not on
    how common the tag is. Each further tag is one look-up per row.
    """

    source: FromClause
    key: ColumnElement[Any]
    conditions: Sequence[ColumnElement[bool]] = ()


def executions_with(tags: Iterable[str]) -> Chosen:
    """Executions that have all of these tags; all executions for none."""
    handle, wanted = executions.c.handle, list(dict.fromkeys(tags))
    if not wanted:
        return Chosen(executions, handle)
    also = [exists().where(_O.handle == _E.handle, _O.tag == tag) for tag in wanted[1:]]
    return Chosen(executions.join(execution_tags, _E.handle == handle), _E.handle, [_E.tag == wanted[0], *also])


def having_labels(chosen: Chosen, labels: Iterable[str]) -> Chosen:
    """Those of `chosen` executions that also have all of these labels, each `key:value`."""
    wanted = list(dict.fromkeys(labels))
    if not wanted:
        return chosen
    if chosen.source is not executions:  # by a tag: that index is read in order
        also = [exists().where(_M.handle == chosen.key, _M.label == label) for label in wanted]
        return Chosen(chosen.source, chosen.key, [*chosen.conditions, *also])
    also = [exists().where(_M.handle == _L.handle, _M.label == label) for label in wanted[1:]]
    joined = executions.join(execution_labels, _L.handle == executions.c.handle)
    return Chosen(joined, _L.handle, [_L.label == wanted[0], *also])


def resources_with(kind: str, tags: Iterable[str]) -> Chosen:
    """Resources of this kind that have all of these tags; all of this kind for none."""
    r, wanted = resources.c, list(dict.fromkeys(tags))
    if not wanted:
        return Chosen(resources, r.id, [r.kind == kind])
    also = [exists().where(_P.kind == kind, _P.id == _R.id, _P.tag == tag) for tag in wanted[1:]]
    joined = resources.join(resource_tags, and_(_R.kind == r.kind, _R.id == r.id))
    return Chosen(joined, _R.id, [r.kind == kind, _R.kind == kind, _R.tag == wanted[0], *also])


def labels_in(document: Mapping[str, Any]) -> list[str]:
    """The labels that lists look for, each `key:value`. Longer ones are shown with the execution only."""
    kept = (document.get("metadata") or {}).get("labels") or {}
    return sorted({one for key, value in kept.items() if len(one := f"{key}:{value}") <= MAX_LABEL})


def _tags_in(document: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(document.get("metadata", {}).get("tags", ())))
