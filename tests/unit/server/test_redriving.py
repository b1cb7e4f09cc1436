"""Where a redrive begins, by what is in the session's memory and what was asked for."""

from dataclasses import dataclass
from typing import Any

import pytest

from agent_runner.app.server.executions.redrives import Begin, where_to_begin
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import WHAT_IS_FOUND


@dataclass
class Old:
    phase: Phase = Phase.FAILED
    base_checkpoint_id: str | None = "base"
    id: str = "old"
    session_id: str = "s"


@dataclass
class Memory:
    head: str
    latest: str

    async def session_memory(self, session_id: str) -> tuple[str, str]:
        return self.head, self.latest


async def begin(old: Old, head: str = "head", latest: str = "old", asked: str = "") -> Begin:
    store, execution = Memory(head, latest), old  # what is decided depends on these facts only
    return await where_to_begin(store, execution, asked)  # type: ignore[arg-type]


async def test_by_default_it_goes_on_from_the_failed_step() -> None:
    """What had finished is kept; a later redrive from the start still knows where that was."""
    assert await begin(Old()) == Begin(base_checkpoint_id="base", resume_checkpoint_id="head")
    assert await begin(Old(phase=Phase.CANCELLED), asked="failed_step") == await begin(Old())


async def test_from_the_start_means_before_the_run() -> None:
    """A run of which no step is known goes on where its worker had come to, if that is found; else from there, too."""
    assert await begin(Old(), asked="start") == Begin(base_checkpoint_id="base")
    for base in ("base", ""):
        looks = Begin(base_checkpoint_id=base, resume_checkpoint_id=WHAT_IS_FOUND)
        assert await begin(Old(base_checkpoint_id=base), head=base) == looks
        assert await begin(Old(base_checkpoint_id=base), head=base, asked="start") == Begin(base_checkpoint_id=base)


@pytest.mark.parametrize("old", [Old(phase=Phase.COMPLETED), Old(base_checkpoint_id=None)])
async def test_otherwise_it_is_one_more_message(old: Old) -> None:
    """Of one that completed or was never claimed: where the session is."""
    assert await begin(old) == Begin()


async def test_after_later_turns_the_failed_step_is_refused() -> None:
    """By name and with what to do; without asking for it the redrive is one more message."""
    assert await begin(Old(), latest="new") == Begin()
    with pytest.raises(Problem, match=r"gone on since, with new") as refused:
        await begin(Old(), latest="new", asked="failed_step")
    assert refused.value.kind is Kind.FAILED_PRECONDITION
    with pytest.raises(Problem, match="from: must be"):
        await begin(Old(), asked="middle")


def test_the_body_is_checked() -> None:
    """Unknown fields and other types are refused with the field."""
    from agent_runner.app.server.executions.drafts.draft import redrive_of

    assert redrive_of({"from": "start"}) == ({}, "start")
    bad: list[Any] = [{"from": 1}, {"form": "start"}, []]
    for body in bad:
        with pytest.raises(Problem):
            redrive_of(body)
