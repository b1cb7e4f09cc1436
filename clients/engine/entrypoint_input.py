"""Turns a message into the input of an `@entrypoint`: one value, of the type that its author chose."""

from typing import Any, get_origin

from langchain_core.messages import HumanMessage
from langgraph.pregel import Pregel

PREVIOUS = "__previous__"
"""The channel with the value that an entrypoint's last run saved. No other graph has this channel."""


def is_functional(graph: Pregel[Any, Any, Any, Any]) -> bool:
    return PREVIOUS in graph.channels


def message_input(graph: Pregel[Any, Any, Any, Any], message: str | list[Any]) -> Any:
    """The input, made from `message` for the entrypoint's input type: the message itself for `str`, `Any` or `object`,
    a list of messages for a list or tuple, `{"messages": [...]}` for a dict or a class with the field `messages`.
    None if the type cannot take a message.

    A message of blocks is a list, not a text: `Any` and `object` get that list, `str` gets None.
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
