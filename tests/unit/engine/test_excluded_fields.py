"""A field with `exclude=True` in the memory is what LangGraph's own serializer makes of it."""

from typing import Any

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel, Field

from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.state.state_types import type_key


class WithDefault(BaseModel):
    n: int = 1
    secret: str = Field(default="default", exclude=True)


class Required(BaseModel):
    n: int = 1
    secret: str = Field(exclude=True)


class Nested(BaseModel):
    inner: WithDefault
    beside: WithDefault | None = Field(default=None, exclude=True)


@pytest.mark.parametrize(
    "value",
    [
        WithDefault(n=2, secret="x"),
        Required(n=3, secret="x"),
        Nested(inner=WithDefault(n=4, secret="x"), beside=WithDefault(n=5)),
    ],
)
def test_an_excluded_field_is_left_out_as_langgraph_leaves_it_out(value: Any) -> None:
    """Its default is there again; a field without one is missing, here and there."""
    classes = (WithDefault, Required, Nested)
    ours = StateSerializer({type_key(cls.__module__, cls.__name__): cls for cls in classes})
    theirs = JsonPlusSerializer(allowed_msgpack_modules=classes)
    made, expected = (serde.loads_typed(serde.dumps_typed(value)) for serde in (ours, theirs))
    assert type(made) is type(expected) is type(value)
    assert vars(made) == vars(expected)
    assert "x" not in repr(made)
