"""What exists already is ALREADY_EXISTS for `create`, and is never overwritten by it."""

import asyncio

import grpc
import httpx
import pytest

from tests.contract.methods.cases import CASES
from tests.contract.methods.drafts import API_VERSION
from tests.contract.methods.facts import AGENT, EXECUTION, METHODS, SKILL, each_method
from tests.contract.methods.world import World, kind_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
CREATES = [method for method in METHODS if method.endswith(".create")]
NUMBERED = {
    "AgentExecutionCommandController.create": "every call is a new execution, which the server numbers; the same call "
    "again is recognised by its idempotency key"
}
NAMED = [method for method in CREATES if method not in NUMBERED]


@each_method("duplicate", NAMED)
async def test_a_name_is_taken_once(method: str, world: World) -> None:
    """The same name, or another that amounts to the same slug: ALREADY_EXISTS with the slug, and nothing changed."""
    given = await CASES[method].request(world)
    made = await world.admin.call(method, given)
    kind = kind_of(made.metadata.id)
    for name in (given.metadata.name, made.metadata.slug, f"  {given.metadata.name.upper()}?"):
        given.metadata.name = name
        given.metadata.labels["team"] = "overwritten"
        code, text = await world.admin.refused(method, given)
        assert code is grpc.StatusCode.ALREADY_EXISTS, text
        assert kind.name in text
        assert made.metadata.slug in text
    assert await world.get(kind, made.metadata.id) == made


@each_method("duplicate-id", CREATES)
async def test_an_id_is_taken_once(method: str, world: World) -> None:
    """The id of another one, under another name: ALREADY_EXISTS with the id, and nothing changed."""
    made = await world.admin.call(method, await CASES[method].request(world))
    kind = kind_of(made.metadata.id)
    given = await CASES[method].request(world)
    given.metadata.id = made.metadata.id
    code, text = await world.admin.refused(method, given)
    assert code is grpc.StatusCode.ALREADY_EXISTS, text
    assert f"{kind.name} '{made.metadata.id}'" in text
    assert await world.get(kind, made.metadata.id) == made


@each_method("race", NAMED)
async def test_of_many_at_once_one_wins(method: str, world: World) -> None:
    """Of five calls with one name at the same time, one makes it and the others are told that it exists."""
    given = await CASES[method].request(world)
    answers = await asyncio.gather(*(world.admin.call(method, given) for _ in range(5)), return_exceptions=True)
    (made,) = (answer for answer in answers if not isinstance(answer, BaseException))
    codes = [answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert codes == [grpc.StatusCode.ALREADY_EXISTS] * 4
    assert await world.get(kind_of(made.metadata.id), made.metadata.id) == made


@each_method("numbered", list(NUMBERED))
async def test_executions_are_numbered(method: str, world: World) -> None:
    """The same request again is another execution; with the same key it is the same."""
    given = await CASES[method].request(world)
    first = await world.admin.call(method, given)
    second = await world.admin.call(method, given)
    assert first.metadata.id != second.metadata.id
    assert await world.get(EXECUTION, first.metadata.id) == first
    third, fourth = [await world.admin.call(method, given, ("idempotency-key", world.org)) for _ in range(2)]
    assert third == fourth
    assert len({e.metadata.id for e in (first, second, third)}) == 3


async def test_the_same_name_elsewhere(world: World, other: World) -> None:
    """Another org has names of its own."""
    made = await world.make(AGENT)
    theirs = await other.draft(AGENT)
    theirs.metadata.name = made.metadata.name
    twin = await other.admin.call("AgentCommandController.create", theirs)
    assert twin.metadata.slug == made.metadata.slug
    assert twin.metadata.id != made.metadata.id


async def test_a_skill_by_its_text(world: World, http: httpx.AsyncClient) -> None:
    """What the contract has no method for keeps the same law: over HTTP the id of another skill is a 409."""
    made = await world.make(SKILL)
    metadata = {"name": f"Not {made.metadata.name}", "owner_scope": "organization", "id": made.metadata.id}
    body = {"api_version": API_VERSION, "kind": "Skill", "metadata": metadata, "spec": {"skill_md": "# Other"}}
    answer = await http.post("/v1/skills", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "ALREADY_EXISTS")
    assert f"Skill '{made.metadata.id}'" in answer.json()["detail"]
    assert await world.get(SKILL, made.metadata.id) == made
