"""What a caller or an agent gives a graph besides its input: `context` and `config`, checked and merged.

    context   a JSON object, for the graph's `context_schema`
    config    {"tags": [text], "metadata": {..}, "configurable": {..}, "recursion_limit": n, "max_concurrency": n}

In the contract's form they are annotations of the execution or of the agent (`agent-runner/context`,
`agent-runner/config`), as JSON. The execution's values override the agent's. The worker decides which names of
`configurable` a graph accepts, because the graph's code is there.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent_runner.status.requests.whole_numbers import whole

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


class RunConfigError(ValueError):
    """The text names the field and its allowed values. `next_step` is empty if there is nothing to add."""

    def __init__(self, text: str, *, next_step: str = "") -> None:
        super().__init__(text)
        self.next_step = next_step


Read = Callable[[str, str], Any]
"""Reads an annotation's JSON. The second argument is the subject of the error's text."""


def read_plainly(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunConfigError(f"{what} is not JSON: {error}") from None


def check_context(context: Any, where: str = "context") -> dict[str, Any]:
    if not isinstance(context, dict):
        raise RunConfigError(f"{where}: must be an object; the graph's context_schema says which fields it has")
    return context


def check_config(config: Any, where: str = "config") -> dict[str, Any]:
    """Raises RunConfigError, which names the field and its allowed values."""
    if not isinstance(config, dict):
        raise RunConfigError(f"{where}: must be an object with {', '.join(CONFIG_FIELDS)}")
    if unknown := sorted(map(str, config.keys() - set(CONFIG_FIELDS))):
        raise RunConfigError(f"{where}: unknown fields {', '.join(unknown)}; it knows {', '.join(CONFIG_FIELDS)}")
    tags = config.get("tags")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise RunConfigError(f"{where}.tags: must be a list of texts")
    if any("\0" in tag for tag in tags or ()):
        raise RunConfigError(f"{where}.tags: must not contain NUL characters")
    for name in ("metadata", "configurable"):
        given = config.get(name)
        if given is not None and not isinstance(given, dict):
            raise RunConfigError(f"{where}.{name}: must be an object")
        for key in given or {}:
            if key in OURS or key.startswith(("__", "langgraph_")):
                raise RunConfigError(
                    f"{where}.{name}.{key}: this name is the runner's own",
                    next_step="Leave it out. A thread is chosen by session_id; a graph's own names must differ.",
                )
    for name in ("recursion_limit", "max_concurrency"):
        limit = whole(config.get(name))
        config = {**config, name: limit}
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit <= MAX_LIMIT):
            raise RunConfigError(f"{where}.{name}: must be a whole number from 1 to {MAX_LIMIT}")
    return {name: value for name, value in config.items() if value is not None}


def merged(
    agent: Mapping[str, str], execution: Mapping[str, str], read: Read = read_plainly
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """(context, config): the execution's values override the agent's, key by key; tags are joined. Raises
    RunConfigError, or what `read` raises."""
    (under, below), (over, above) = given_in(agent, read), given_in(execution, read)
    context = None if under is None and over is None else {**(under or {}), **(over or {})}
    config = {**below, **above}
    for name in ("metadata", "configurable"):
        if name in below and name in above:
            config[name] = {**below[name], **above[name]}
    if "tags" in below and "tags" in above:
        config["tags"] = list(dict.fromkeys([*below["tags"], *above["tags"]]))
    return context, config


def given_in(annotations: Mapping[str, str], read: Read = read_plainly) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """(context, config) of one resource's annotations."""
    context, config = (
        read(text, f"metadata.annotations['{name}']") if (text := annotations.get(name, "")) else None
        for name in (CONTEXT, CONFIG)
    )
    return (
        None if context is None else check_context(context, f"metadata.annotations['{CONTEXT}']"),
        {} if config is None else check_config(config, f"metadata.annotations['{CONFIG}']"),
    )
