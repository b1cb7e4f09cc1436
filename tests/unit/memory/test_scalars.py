"""Texts and numbers of a state come back as they were, from both databases."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT

from agent_runner.clients.engine.memory.checkpoints import Memory, open_saver
from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.state.state_types import type_key
from tests.support.databases import postgres_database


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


VALUES = {
    "large": 1e20,
    "whole": 3.0,
    "smallest": 5e-324,
    "no_number": math.nan,
    "endless": -math.inf,
    "minus_zero": -0.0,
    "integer": 10**30,
    "yes": True,
    "nothing": None,
    "text": "größer",
    "zero_character": "a\0b",
    "text_of_a_class": Colour.RED,
    "number_of_a_class": Level.HIGH,
}
PLACE: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[Memory]:
    if kind == "sqlite":
        async with await open_saver(f"sqlite:///{folder}/memory.db") as memory:
            yield memory
        return
    with postgres_database() as url:
        async with await open_saver(url) as memory:
            yield memory


def declared(memory: Memory) -> Any:
    """The saver as a graph gets it whose schema declares these classes."""
    saver: Any = memory.saver
    saver.serde = StateSerializer({type_key(one.__module__, one.__qualname__): one for one in (Colour, Level)})
    return saver


def checkpoint(**values: Any) -> Checkpoint:
    made = empty_checkpoint()
    made["channel_values"], made["channel_versions"] = values, dict.fromkeys(values, "1")
    return made


def same(found: Any, wanted: Any) -> bool:
    return type(found) is type(wanted) and repr(found) == repr(wanted)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_scalars_come_back_as_they_were(kind: str, tmp_path: Path) -> None:
    """Also in the next checkpoint, in which none of them has changed, and after the first one was removed."""
    async with opened(kind, tmp_path) as memory:
        saver = declared(memory)
        first = checkpoint(**VALUES)
        after = await saver.aput(PLACE, first, CheckpointMetadata(), first["channel_versions"])
        second = checkpoint(**VALUES)
        head = await saver.aput(after, second, CheckpointMetadata(), {})
        await memory.prune("t", head["configurable"]["checkpoint_id"])
        found = (await saver.aget_tuple(PLACE)).checkpoint
        assert found["id"] == second["id"]
        assert {n: v for n, v in found["channel_values"].items() if not same(v, VALUES[n])} == {}
        assert set(found["channel_values"]) == set(VALUES)


async def test_values_that_langgraph_kept_in_the_checkpoint_stay() -> None:
    """A thread of an earlier version goes on: what did not change since is in no row of its own yet."""
    async with opened("postgres", Path()) as memory:
        saver = declared(memory)
        stock: BaseCheckpointSaver[str] = AsyncPostgresSaver(saver.conn)
        first = checkpoint(large=1.5, text="x", colour="red")
        after = await stock.aput(PLACE, first, CheckpointMetadata(), first["channel_versions"])
        second = checkpoint(**first["channel_values"])
        await saver.aput(after, second, CheckpointMetadata(), {})
        assert (await saver.aget_tuple(PLACE)).checkpoint["channel_values"] == first["channel_values"]
        assert (await stock.aget_tuple(PLACE)).checkpoint["channel_values"] == first["channel_values"]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_writes_of_a_task(kind: str, tmp_path: Path) -> None:
    """Ordinary writes count once; a question or an error that is told again replaces the one before, also within one
    call."""
    async with opened(kind, tmp_path) as memory:
        saver = declared(memory)
        at = await saver.aput(PLACE, checkpoint(), CheckpointMetadata(), {})
        await saver.aput_writes(at, [("a", 1), ("b", "x\0"), ("a", math.inf)], "task")
        await saver.aput_writes(at, [("a", 2), ("b", "y"), ("a", 3)], "task")
        await saver.aput_writes(at, [(INTERRUPT, "first")], "task")
        await saver.aput_writes(at, [(INTERRUPT, "second"), (ERROR, "e"), (INTERRUPT, "third")], "task")
        found = sorted((await saver.aget_tuple(PLACE)).pending_writes, key=repr)
        told = [("a", 1), ("a", math.inf), ("b", "x\0"), (ERROR, "e"), (INTERRUPT, "third")]
        assert found == sorted((("task", *one) for one in told), key=repr)
