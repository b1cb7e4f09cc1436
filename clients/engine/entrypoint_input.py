"""What a message is to an `@entrypoint`, whose input is one value of a type of its author's choice."""

from typing import Any, get_origin

from langchain_core.messages import HumanMessage
from langgraph.pregel import Pregel

PREVIOUS = "__previous__"
"""The channel of what an entrypoint's last run gave: no other graph has it."""


def is_functional(graph: Pregel[Any, Any, Any, Any]) -> bool:
    return PREVIOUS in graph.channels


def message_input(graph: Pregel[Any, Any, Any, Any], message: str | list[Any]) -> Any:
    """The text where a text (or nothing in particular) is wanted, a list of messages where a list is, an object with
    `messages` where the object has them; None where a message cannot be what is wanted.

    A message of blocks is no text: where nothing in particular is wanted it is given as the list that it is.
    """
    wanted: Any = graph.InputType or Any
    plain = get_origin(wanted) or wanted
    if plain in (str, Any, object):
        return None if plain is str and not isinstance(message, str) else message
    said = HumanMessage(content=message)
    if isinstance(plain, type) and issubclass(plain, (list, tuple)):
        return [said]
    fields = {**getattr(plain, "__annotations__", {}), **(getattr(plain, "model_fields", None) or {})}
    if plain is dict or "messages" in fields:
        return {"messages": [said]}
    return None
