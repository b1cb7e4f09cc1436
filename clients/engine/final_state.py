"""The result of a graph besides its messages: the fields of its final state that its output schema names."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent_runner.clients.engine.stream import messages as read
from agent_runner.status.log.events import GraphOutput

STRUCTURED = "structured_response"
"""The field where LangChain's agents put a structured answer."""


def output_fields(graph: Any) -> Sequence[str] | None:
    """The names of the graph's output fields, without private and managed ones. None if its output is one value."""
    names = getattr(graph, "output_channels", None)
    return None if names is None or isinstance(names, str) else list(names)


def final_output(state: Any, before: Any, names: Sequence[str] | None) -> GraphOutput | None:
    """The output in the final `state`. `before`: the first state, which has the input. None if there are only messages.

    The output has every field that is not empty, except `messages`. The fields of a structured answer are merged into
    its top level.
    """
    if state is None:
        return None
    if not isinstance(state, Mapping):
        return None if read.conversation_of(state) is not None else GraphOutput(output=state)
    shown = {name: value for name, value in state.items() if names is None or name in names}
    if "messages" not in state:
        return GraphOutput(output=shown)
    fields = {k: v for k, v in shown.items() if k not in ("messages", "__interrupt__") and not _empty(v)}
    if not fields:
        return None
    old = before if isinstance(before, Mapping) else {}
    answered = any(name not in old or not _same(old[name], value) for name, value in fields.items())
    if STRUCTURED not in fields:
        return GraphOutput(output=fields, answered=answered)
    beside = {name: value for name, value in fields.items() if name != STRUCTURED}
    answer = _as_mapping(fields[STRUCTURED])
    if answer is None:
        return GraphOutput(output=fields if beside else fields[STRUCTURED], fields=fields, answered=answered)
    return GraphOutput(output={**beside, **answer}, fields=fields, answered=answered)


def _as_mapping(value: Any) -> Mapping[str, Any] | None:
    """A structured answer (a dict, a Pydantic model or a dataclass) as a mapping; None for any other value."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        try:
            dumped = dump()
        except Exception:  # code of a foreign class
            return None
        return dumped if isinstance(dumped, Mapping) else None
    names = getattr(value, "__dataclass_fields__", None)
    return {name: getattr(value, name, None) for name in names} if names else None


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | dict | set | frozenset) and not value)


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # arrays and other things that compare in their own way
        return False
