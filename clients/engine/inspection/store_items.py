"""Items of the store that graphs use, for callers outside of a run."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import BaseStore, InvalidNamespaceError, Item

from agent_runner.clients.engine.inspection.states import QueryRefused
from agent_runner.clients.engine.store.org_store import StoreError
from agent_runner.clients.engine.stream.plain_parts import plain_part

Json = dict[str, Any]


async def store_answer(store: BaseStore, asked: Mapping[str, Any]) -> Any:
    """`op`: get, put, delete, search or namespaces, with the arguments of the store's methods. Raises QueryRefused."""
    try:
        return await _done(store, asked)
    except (InvalidNamespaceError, ValueError, TypeError) as error:
        raise QueryRefused("invalid", str(error)) from error
    except StoreError as error:
        raise QueryRefused("failed", str(error)) from error


async def _done(store: BaseStore, asked: Mapping[str, Any]) -> Any:
    namespace = tuple(asked.get("namespace") or ())
    match asked["op"]:
        case "get":
            item = await store.aget(namespace, asked["key"], refresh_ttl=asked.get("refresh_ttl"))
            return None if item is None else item_json(item)
        case "put":
            more = {"ttl": asked["ttl"]} if asked.get("ttl") is not None else {}
            await store.aput(namespace, asked["key"], dict(asked["value"]), index=asked.get("index"), **more)
            return {}
        case "delete":
            await store.adelete(namespace, asked["key"])
            return {}
        case "search":
            found = await store.asearch(
                namespace,
                query=asked.get("query"),
                filter=asked.get("filter"),
                limit=asked["limit"],
                offset=asked["offset"],
                refresh_ttl=asked.get("refresh_ttl"),
            )
            return [item_json(one) | {"score": one.score} for one in found]
        case "namespaces":
            named = await store.alist_namespaces(
                prefix=tuple(asked["prefix"]) if asked.get("prefix") else None,
                suffix=tuple(asked["suffix"]) if asked.get("suffix") else None,
                max_depth=asked.get("max_depth"),
                limit=asked["limit"],
                offset=asked["offset"],
            )
            return [list(one) for one in named]
    raise QueryRefused("invalid", f"the store knows no {asked['op']!r}")


def item_json(item: Item) -> Json:
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": plain_part(item.value),
        "created_at": _iso(item.created_at),
        "updated_at": _iso(item.updated_at),
    }


def _iso(at: datetime) -> str:
    """With a time zone; SQLite's times are UTC and have none."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat(timespec="microseconds")
