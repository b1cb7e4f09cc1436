"""What a run's graph gets besides its input: its context, its config, and the facts about the run itself.

    configurable["execution_id" | "session_id" | "org" | "caller" | "attempt" | "graph_id" | "assistant_id"]

are always there. None of them is a secret, since LangGraph copies `configurable` into checkpoints. Other names reach
the graph only if its `context_schema` declares them, or if `langgraph.json` or the operator lists them. The reason:
libraries read some names (a model's `base_url`, say), and not every caller may set these.
"""

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, TypeAdapter, ValidationError

RECURSION_LIMIT = 1000
"""The most steps of a run, if neither the caller nor the graph's author set a limit."""
ANY = "*"
OF_LIBRARIES = frozenset({"deepagents_parent"})
"""Names that a library gives to the runs that it starts, and reads there: of deepagents, which thread asked for a task.
Each is data that says where a run comes from, and chooses nothing."""


class RunContextError(Exception):
    """The context or the config does not fit this graph; the text names the field and what to write."""


class Caller(dict[str, Any]):
    """The user as LangGraph's server gives it: `runtime.server_info.user`, `configurable["langgraph_auth_user"]`."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity=identity, display_name=identity, is_authenticated=True, permissions=[])

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """`config`: as the server checked it. `facts`: copied into `configurable` without a change."""

    context: dict[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configurable(self) -> dict[str, Any]:
        return dict(self.config.get("configurable") or {})

    def into(self, config: RunnableConfig, names: Collection[str] = (ANY,)) -> RunnableConfig:
        """`config` merged with the given config; of its `configurable` only `names`, where entries of `config` win."""
        told = {name: value for name, value in self.configurable.items() if ANY in names or name in names}
        merged: dict[str, Any] = {**config, "configurable": {**told, **self.facts, **config.get("configurable", {})}}
        for name in ("tags", "metadata"):
            if self.config.get(name):
                merged[name] = self.config[name]
        for name in ("recursion_limit", "max_concurrency"):
            if self.config.get(name):
                merged[name] = self.config[name]
        return merged  # type: ignore[return-value]


def facts_of(
    *, execution_id: str, session_id: str, org: str, caller: str, attempt: int, graph: str
) -> Mapping[str, Any]:
    """The facts about a run, under the names by which a graph reads them."""
    facts: dict[str, Any] = {
        "execution_id": execution_id,
        "session_id": session_id,
        "org": org,
        "caller": caller,
        "attempt": attempt,
        "graph_id": graph,
        "assistant_id": graph,
    }
    return facts | ({"langgraph_auth_user": Caller(caller), "langgraph_auth_user_id": caller} if caller else {})


def limit_of(graph: Any, given: RunContext, *, own: bool) -> int:
    """The recursion limit: the caller's, else the one that the author bound to the graph (only if `own`), else ours."""
    bound = (getattr(graph, "config", None) or {}).get("recursion_limit") if own else None
    return int(given.config.get("recursion_limit") or bound or RECURSION_LIMIT)


def check_names(graph: Any, given: RunContext, listed: Collection[str], name: str) -> None:
    """Raises RunContextError for a name in `configurable` that this graph does not take."""
    if ANY in listed:
        return
    known = {*listed, *_fields(getattr(graph, "context_schema", None))}
    if refused := sorted(given.configurable.keys() - known - OF_LIBRARIES):
        raise RunContextError(
            f"config.configurable.{refused[0]}: graph '{name}' does not take this name"
            f" (it takes {', '.join(sorted(known)) or 'none'}). Declare it in the graph's context_schema, list it in"
            f' langgraph.json as {{"path": "...", "configurable": ["{refused[0]}"]}}, or add it to'
            " AGENT_RUNNER_CONFIGURABLE."
        )


def context_for(graph: Any, given: RunContext, name: str) -> Any:
    """The value of `runtime.context`: the given context in the form of the graph's schema. Raises RunContextError.

    If no context is given, it is made from the schema's fields in `configurable`, as LangGraph's server does. If there
    are none, the schema's defaults are used, if all fields have one; else the context is None.
    """
    schema = getattr(graph, "context_schema", None)
    if schema is None:
        return given.context
    declared = _fields(schema)
    context = given.context
    if context is None:
        context = {key: value for key, value in given.configurable.items() if key in declared} or None
    if context is None:
        return _defaults(schema)
    if declared and (unknown := sorted(map(str, context.keys() - set(declared)))):
        raise RunContextError(
            f"context.{unknown[0]}: the context_schema of graph '{name}' has no such field; it has"
            f" {', '.join(declared)}"
        )
    try:
        return TypeAdapter(schema).validate_python(context)
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(["context", *(str(part) for part in first["loc"])])
        raise RunContextError(
            f"{field_name}: {first['msg']} (the context_schema of graph '{name}' has {', '.join(declared)})"
        ) from None
    except Exception:  # pydantic cannot read the schema: do what LangGraph itself does
        return schema(**context) if dataclasses.is_dataclass(schema) and isinstance(schema, type) else context


def lacking(graph: Any, given: RunContext, name: str) -> str:
    """A hint for the user if the graph declares a context and `context_for` gives None; else empty."""
    schema = getattr(graph, "context_schema", None)
    if schema is None or given.context is not None or context_for(graph, given, name) is not None:
        return ""
    fields = _fields(schema)
    example = ", ".join(f'"{field}": ...' for field in fields)
    return (
        f"Graph '{name}' declares a context ({', '.join(fields)}) and this execution gave none, so runtime.context was"
        f' None. If that is why it failed, send it: "context": {{{example}}}.'
    )


def _defaults(schema: Any) -> Any:
    if not (isinstance(schema, type) and (dataclasses.is_dataclass(schema) or issubclass(schema, BaseModel))):
        return None
    try:
        return schema()
    except (TypeError, ValidationError):
        return None


def declared_fields(graph: Any) -> list[str]:
    """The names of the fields of the graph's `context_schema`."""
    return _fields(getattr(graph, "context_schema", None))


def _fields(schema: Any) -> list[str]:
    if schema is None:
        return []
    if dataclasses.is_dataclass(schema):
        return [one.name for one in dataclasses.fields(schema)]
    if inspect.isclass(schema) and issubclass(schema, BaseModel):
        return list(schema.model_fields)
    try:
        return list(get_type_hints(schema))
    except Exception:
        return list(getattr(schema, "__annotations__", {}))
