"""A time in a named zone is the same time in the same zone when a session goes on."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from agent_runner.clients.engine.memory.state.serializer import StateSerializer
from agent_runner.clients.engine.memory.state.state_types import type_key

BERLIN = ZoneInfo("Europe/Berlin")
BEFORE_THE_CHANGE = datetime(2026, 10, 24, 9, 0, tzinfo=BERLIN)


class Meeting(BaseModel):
    begins: datetime


def again(value: Any) -> Any:
    serializer = StateSerializer({type_key(__name__, "Meeting"): Meeting})
    return serializer.loads_typed(serializer.dumps_typed(value))


@pytest.mark.parametrize(
    "value",
    [
        BEFORE_THE_CHANGE,
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=BERLIN),
        datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=ZoneInfo("UTC")),
        time(9, 0, tzinfo=BERLIN),
    ],
)
def test_a_zone_and_the_fold_are_kept(value: Any) -> None:
    """Law: zone, fold and time of day are what they were, at the top, in a model, in a list and as a key."""
    for found in (again(value), again([value])[0], next(iter(again({value: 1})))):
        assert (found, found.tzinfo, found.fold) == (value, value.tzinfo, value.fold)
    if isinstance(value, datetime):
        assert again(Meeting(begins=value)).begins.tzinfo == value.tzinfo


def test_the_next_day_is_at_the_same_time_of_day() -> None:
    """Law: a step after a checkpoint reckons as one before it: 9:00 and a day is 9:00, though an hour was added."""
    assert again(BEFORE_THE_CHANGE) + timedelta(days=1) == BEFORE_THE_CHANGE + timedelta(days=1)
    moment = (again(BEFORE_THE_CHANGE) + timedelta(days=1)).astimezone(UTC)
    assert moment - BEFORE_THE_CHANGE.astimezone(UTC) == timedelta(hours=25)


def test_langgraphs_own_reader_takes_the_form() -> None:
    """Law: a thread that LangGraph's own serializer reads has the same value."""
    written = StateSerializer().dumps_typed({"begins": BEFORE_THE_CHANGE})
    assert JsonPlusSerializer().loads_typed(written)["begins"].tzinfo == BERLIN


@pytest.mark.parametrize(
    "value", [datetime.fromisoformat("2026-01-01"), datetime(2026, 1, 1, tzinfo=UTC), time(9, 0), time(9, tzinfo=UTC)]
)
def test_times_without_a_named_zone_are_written_as_before(value: Any) -> None:
    """Law: what has no named zone has the form that LangGraph gives it."""
    assert StateSerializer().dumps_typed(value) == JsonPlusSerializer().dumps_typed(value)
    assert again(value) == value
