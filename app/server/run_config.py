"""What a caller or an agent gives a graph beside its input: `context` and `config`, checked and merged.

    context   a JSON object, for the graph's `context_schema`
    config    {"tags": [text], "metadata": {..}, "configurable": {..}, "recursion_limit": n, "max_concurrency": n}

In the contract's form they are annotations of the execution or of the agent (`agent-runner/context`,
`agent-runner/config`), as JSON. The agent's are defaults under the execution's. Which names of `configurable` a graph
takes is known where its code is: the worker decides that.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.server.json_text import read_json
from app.server.problems import invalid

CONTEXT, CONFIG = "agent-runner/context", "agent-runner/config"
CONFIG_FIELDS = ("tags", "metadata", "configurable", "recursion_limit", "max_concurrency")
OURS = frozenset(
    {
        *("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"),
        *("execution_id", "session_id", "org", "caller", "attempt", "graph_id", "assistant_id", "run_id", "user_id"),
    }
)
"""The runner's own names in `configurable`; those that begin with `__` or `langgraph_` are LangGraph's."""
MAX_LIMIT = 1_000_000


def check_context(context: Any, where: str = "context") -> dict[str, Any]:
    if not isinstance(context, dict):
        raise invalid(f"{where}: must be an object; the graph's context_schema says which fields it has")
    return context


def check_config(config: Any, where: str = "config") -> dict[str, Any]:
    """Raises INVALID_ARGUMENT, which names the field and what it may be."""
    if not isinstance(config, dict):
        raise invalid(f"{where}: must be an object with {', '.join(CONFIG_FIELDS)}")
    if unknown := sorted(map(str, config.keys() - set(CONFIG_FIELDS))):
        raise invalid(f"{where}: unknown fields {', '.join(unknown)}; it knows {', '.join(CONFIG_FIELDS)}")
    tags = config.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise invalid(f"{where}.tags: must be a list of texts")
    for name in ("metadata", "configurable"):
        given = config.get(name)
        if given is not None and not isinstance(given, dict):
            raise invalid(f"{where}.{name}: must be an object")
        for key in given or {}:
            if key in OURS or key.startswith(("__", "langgraph_")):
                raise invalid(
                    f"{where}.{name}.{key}: this name is the runner's own",
                    next_step="Leave it out. A thread is chosen by session_id; a graph's own names must differ.",
                )
    for name in ("recursion_limit", "max_concurrency"):
        limit = config.get(name)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT):
            raise invalid(f"{where}.{name}: must be a whole number from 1 to {MAX_LIMIT}")
    return {name: value for name, value in config.items() if value is not None}


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Raises INVALID_ARGUMENT for what cannot be used of them."""
    _read(annotations)


def put_annotations(annotations: Any, context: Any, config: Any) -> None:
    """The short form's fields as the annotations that they are kept in."""
    if context is not None:
        annotations[CONTEXT] = json.dumps(check_context(context), ensure_ascii=False)
    if config is not None:
        annotations[CONFIG] = json.dumps(check_config(config), ensure_ascii=False)


def merged(agent: Mapping[str, str], execution: Mapping[str, str]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """(context, config): the execution's over the agent's, key by key; tags of both. Raises Problem."""
    (under, below), (over, above) = _read(agent), _read(execution)
    context = None if under is None and over is None else {**(under or {}), **(over or {})}
    config = {**below, **above}
    for name in ("metadata", "configurable"):
        if name in below and name in above:
            config[name] = {**below[name], **above[name]}
    if "tags" in below and "tags" in above:
        config["tags"] = list(dict.fromkeys([*below["tags"], *above["tags"]]))
    return context, config


def _read(annotations: Mapping[str, str]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    context, config = (_json(annotations, name) for name in (CONTEXT, CONFIG))
    return (
        None if context is None else check_context(context, f"metadata.annotations['{CONTEXT}']"),
        {} if config is None else check_config(config, f"metadata.annotations['{CONFIG}']"),
    )


def _json(annotations: Mapping[str, str], name: str) -> Any:
    text = annotations.get(name, "")
    return read_json(text.encode(), f"metadata.annotations['{name}']") if text else None
