"""The `store` entry of `langgraph.json`, as LangGraph's server reads it.

    {"index": {"embed": "openai:text-embedding-3-small", "dims": 1536, "fields": ["$"]},
     "ttl": {"default_ttl": 1440, "refresh_on_read": true, "sweep_interval_minutes": 5, "omit_expired": true}}

`embed` is a provider and a model, or a function (or an `Embeddings`) of the user's own, by file or by module. Times
are minutes. Names that this module does not know are passed to LangGraph's stores, which know more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from langgraph.store.base import TTLConfig


class StoreConfigError(Exception):
    """The entry cannot be used; the text names the field and what belongs there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """`index`: as it is written, with `embed` not yet looked up; None: no search by meaning. `ttl` None: items never
    expire."""

    index: Mapping[str, Any] | None = None
    ttl: TTLConfig | None = None


def read_store_config(entry: object) -> StoreConfig:
    """Check the `store` entry and read it. Raises StoreConfigError."""
    if entry is None:
        return StoreConfig()
    if not isinstance(entry, dict):
        raise StoreConfigError('store must be an object such as {"ttl": {"default_ttl": 1440}}')
    if entry.get("path"):
        raise StoreConfigError("store.path is not read here: compile the graph with the store of your own, it keeps it")
    ttl, index = (_part(entry, name) for name in ("ttl", "index"))
    if ttl is not None:
        _numbers(ttl)
        for name in ("refresh_on_read", "omit_expired"):
            if ttl.get(name) is not None and not isinstance(ttl[name], bool):
                raise StoreConfigError(f"store.ttl.{name} must be true or false")
    if index is not None:
        _check_index(index)
    given = {name: value for name, value in (ttl or {}).items() if value is not None}
    return StoreConfig(index=index, ttl=cast("TTLConfig", given) if given else None)


def _part(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    part = entry.get(name)
    if part is not None and not isinstance(part, dict):
        raise StoreConfigError(f"store.{name} must be an object")
    return part or None


def _numbers(ttl: dict[str, Any]) -> None:
    for name in ("default_ttl", "sweep_interval_minutes"):
        value = ttl.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise StoreConfigError(f"store.ttl.{name} must be a number of minutes above 0")


def _check_index(index: dict[str, Any]) -> None:
    dims, fields = index.get("dims"), index.get("fields")
    if isinstance(dims, bool) or not isinstance(dims, int) or dims < 1:
        raise StoreConfigError("store.index.dims must be how many numbers the embedding gives, such as 1536")
    if not isinstance(index.get("embed"), str) or ":" not in index["embed"]:
        raise StoreConfigError('store.index.embed must be "provider:model", "./file.py:function" or "module:function"')
    if fields is not None and not (isinstance(fields, list) and all(isinstance(one, str) for one in fields)):
        raise StoreConfigError('store.index.fields must be a list of paths such as ["title", "notes[*]"]')
