"""What is not there is NOT_FOUND, with a text that says what was looked for."""

import uuid

import grpc
import pytest
from ulid import ULID

from tests.contract.methods.cases import ARTIFACT, CASES
from tests.contract.methods.databases import ON_SQLITE
from tests.contract.methods.facts import Kind, each_method
from tests.contract.methods.paths import put
from tests.contract.methods.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
MAKES = "makes something that belongs to nothing else"
LISTS = "lists what there is: of nothing there is an empty list"
NAMES_NOTHING = {
    "AgentCommandController.create": MAKES,
    "AgentCommandController.apply": MAKES,
    "EnvironmentCommandController.create": MAKES,
    "EnvironmentCommandController.apply": MAKES,
    "SkillCommandController.push": MAKES,
    "ExecutionContextCommandController.create": "may be made before the execution that it is for",
    "ExecutionContextCommandController.apply": "may be made before the execution that it is for",
    "AgentInstanceQueryController.getByAgent": LISTS,
    "SessionQueryController.list": LISTS,
    "SessionQueryController.listByAgent": LISTS,
    "AgentExecutionQueryController.list": LISTS,
    "AgentExecutionQueryController.listBySession": LISTS,
}
"""The methods that cannot answer NOT_FOUND, and why."""
NAMES = [
    pytest.param(method, path, kind, id=f"{method}-{path}-not-found")
    for method, case in CASES.items()
    for path, kind in case.names.items()
]


@ON_SQLITE
@pytest.mark.parametrize(("method", "path", "kind"), NAMES)
async def test_not_found(method: str, path: str, kind: Kind, world: World) -> None:
    """Every field that names something: what does not exist is NOT_FOUND, and the text has its kind and its name."""
    given = await CASES[method].request(world)
    before = await world.all()
    missing = uuid.uuid4().hex if kind is ARTIFACT else f"{kind.prefix}-{str(ULID()).lower()}"
    put(given, path, missing)
    code, text = await world.admin.refused(method, given)
    assert code is grpc.StatusCode.NOT_FOUND, text
    assert f"{kind.name} '" in text
    assert missing in text
    assert await world.all() == before


async def test_the_others_are_known() -> None:
    """A method without such a field stands in the table with its reason."""
    assert NAMES_NOTHING.keys() == {method for method, case in CASES.items() if not case.names}


@each_method("empty", [method for method, why in NAMES_NOTHING.items() if why == LISTS])
async def test_a_list_of_nothing(method: str, world: World, other: World) -> None:
    """A list for what does not exist, and in an org with nothing, is empty and counts nothing."""
    given = await CASES[method].request(world)
    here = [f.name for f, _ in given.ListFields()]
    for name in here:
        setattr(given, name, f"{getattr(given, name)[:-4]}zzzz")
    reply = await (world if here else other).admin.call(method, given)
    assert not reply.ListFields()
