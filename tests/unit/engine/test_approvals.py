"""Tool calls that a person approves: always, the first time in a session, by the pattern of an argument."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle, SubAgentSpec
from agent_runner.clients.engine.approvals.tool_approvals import APPROVED
from agent_runner.clients.models.budget import Spent
from agent_runner.status.requests.approvals import ApprovalError, names_no_tool, rules_of
from tests.unit.engine.world import Ended, World, make_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with make_world(tmp_path) as made:
        yield made


def asking(**rules: Any) -> Bundle:
    sub_agents = (SubAgentSpec(name="researcher", description="finds things out", instructions="Find out."),)
    return Bundle(
        model_name="demo",
        instructions="Do it.",
        sub_agents=sub_agents,
        approvals=rules_of(json.dumps(rules)),
    )


class Session:
    """`say` is one execution of it; the answer to an open question is the next message."""

    def __init__(self, world: World, bundle: Bundle, head: str = "") -> None:
        self._world, self._bundle, self.head = world, bundle, head

    async def say(self, message: str, **given: Any) -> Ended:
        ended = await self._world.turn(message, self._world.run(head=self.head), self._bundle, **given)
        self.head = ended.head
        return ended


def commands(ended: Ended) -> list[str]:
    """The results of the commands that ran."""
    return [str(m.text).splitlines()[0] for m in ended.tool_messages("execute") if m.status == "success"]


@pytest.mark.promise("6.03")
async def test_every_call_is_asked_for(world: World) -> None:
    """The question has the call; approved it runs, rejected it does not and the agent reads why; the next is asked."""
    session = Session(world, asking(execute="always"))
    asked = await session.say("$ echo one")
    assert (asked.waits, asked.question["name"], asked.question["args"]) == (True, "execute", {"command": "echo one"})
    assert commands(asked) == []
    done = await session.say("approve")
    assert (done.waits, commands(done)) == (False, ["one"])
    asked = await session.say("$ echo two")
    assert asked.waits
    done = await session.say("reject: not now")
    assert (done.waits, commands(done)) == (False, ["one"])
    assert "with reason: not now" in str(done.tool_messages("execute")[-1].text)


async def test_a_call_is_edited(world: World) -> None:
    """What the person wrote runs in place of what the model asked for, and the agent is told."""
    session = Session(world, asking(execute=True))
    await session.say("$ echo one")
    action = {"name": "execute", "args": {"command": "echo other"}}
    done = await session.say("", input_json=json.dumps({"type": "edit", "edited_action": action}))
    (ran,) = done.tool_messages("execute")
    assert ran.status == "success"
    assert "other" in str(ran.text)
    assert "reviewer" in str(ran.text)


async def test_the_first_time_in_a_session(world: World) -> None:
    """Once approved it is not asked for again, in this turn and in later ones; another session asks."""
    session = Session(world, asking(execute="first"))
    assert (await session.say("$ echo one\n$ echo two")).waits
    done = await session.say("yes")
    assert (done.waits, commands(done)) == (False, ["one", "two"])
    later = await session.say("$ echo three")
    assert (later.waits, commands(later)) == (False, ["one", "two", "three"])
    assert later.values[APPROVED] == {'["execute"]': True}


async def test_a_rejected_call_is_asked_for_again(world: World) -> None:
    """Only what was approved is remembered."""
    session = Session(world, asking(execute="first"))
    await session.say("$ echo one")
    assert not (await session.say("no")).waits
    assert (await session.say("$ echo two")).waits


@pytest.mark.promise("6.03")
async def test_a_fork_remembers_what_was_approved_on_its_way(world: World) -> None:
    """From a checkpoint before the approval it is asked for again, whatever another branch knows; from one after it
    not. A message that comes twice asks the same question."""
    session = Session(world, asking(execute="first"))
    started = await session.say("hello")
    asked = await session.say("$ echo one")
    done = await session.say("yes")
    assert commands(done) == ["one"]
    for head, waits in ((started.head, True), (done.head, False)):
        assert (await Session(world, asking(execute="first"), head).say("$ echo again")).waits is waits
    again = await Session(world, asking(execute="first"), asked.head).say("yes")
    assert (again.waits, commands(again)) == (False, ["one"])


async def test_the_pattern_of_an_argument(world: World) -> None:
    """Only calls that match are asked for; the first one of each pattern is remembered by itself."""
    rules = [{"policy": "first", "args": {"command": "echo a*"}}, {"policy": "first", "args": {"command": "echo b*"}}]
    session = Session(world, asking(execute=rules))
    assert not (await session.say("$ echo free")).waits
    assert (await session.say("$ echo a1")).waits
    assert not (await session.say("yes")).waits
    assert not (await session.say("$ echo a2")).waits
    assert (await session.say("$ echo b1")).waits


async def test_sub_agents_share_what_is_approved(world: World) -> None:
    """A sub-agent asks; approved, neither the agent nor a sub-agent asks again, and the other way round."""
    session = Session(world, asking(execute="first"))
    assert (await session.say("@researcher $ echo one")).waits
    done = await session.say("yes")
    assert not done.waits
    assert not (await session.say("$ echo two")).waits
    assert not (await session.say("@researcher $ echo three")).waits


async def test_nobody_approves_by_input(world: World) -> None:
    """The field of the state is no input."""
    session = Session(world, asking(execute="first"))
    message = {"role": "user", "content": "$ echo one"}
    given = {"messages": [message], APPROVED: {'["execute"]': True}}
    assert (await session.say("", input_json=json.dumps(given))).waits


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[", "is not JSON"),
        ("[1]", "must be an object of rules"),
        ('{"execute": false}', "must be true, a policy, or an object"),
        ('{"execute": "sometimes"}', "policy must be always or first"),
        ('{"execute": {"args": {"command": 1}}}', "args must be an object of patterns"),
        ('{"execute": {"allowed": ["maybe"]}}', "allowed must be a list with some of"),
        ('{"execute": {"when": 1}}', "must be true, a policy, or an object with some of"),
    ],
)
def test_rules_that_cannot_be_used(given: str, says: str) -> None:
    """The text names the place."""
    with pytest.raises(ApprovalError, match=says):
        rules_of(given)


def test_a_rule_about_no_tool() -> None:
    """A name with a mistake would leave its tool unguarded, so it is found."""
    assert names_no_tool(rules_of('{"exec": true, "files__*": true, "w*": true}'), ["execute", "write_file"]) == [
        "exec",
        "files__*",
    ]


@pytest.mark.promise("6.05")
async def test_a_budget_asks_a_person(world: World) -> None:
    """Used up, it is a question; who says go on gives as much again, and it may be asked again; who says stop gets the
    agent's last words, and the session goes on with the next message."""
    bundle = Bundle(model_name="demo", instructions="Do it.")
    head = ""
    for message, waits in (
        ("\n".join(f"$ echo {n}" for n in range(5)), True),
        ("go on", True),
        ("stop", False),
        ("hi", False),
    ):
        run = world.run(head=head)
        run.spent = Spent({"model_calls": 2}, owners={"reached": "ask"})
        ended = await world.turn(message, run, bundle)
        head = ended.head
        assert ended.waits is waits, message
        if waits:
            assert ended.question["budget"] == "more than 2 model_calls"
        if message == "stop":
            assert ended.answer.startswith("I have stopped")
            assert 0 < len(commands(ended)) < 5
