"""Every method does what it says: the answer is right, and `get` agrees with it."""

import pytest

from tests.contract.methods.cases import CASES
from tests.contract.methods.facts import each_method
from tests.contract.methods.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _promises(method: str) -> list[pytest.MarkDecorator]:
    service, _, name = method.partition(".")
    ids = []
    if service in ("AgentInstanceQueryController", "EnvironmentQueryController"):
        ids.append("1.66")
    if service.endswith("QueryController") and not service.startswith("AgentExecution"):
        ids.append("2.19")
    if name == "getByReference":
        ids.append("1.67")
    if name == "updateStatus":
        ids += ["1.94", "1.95"]
    if name == "update":
        ids.append("1.81")
    if method == "AgentExecutionCommandController.create":
        ids.append("2.13")
    return [pytest.mark.promise(id) for id in ids]


@each_method("happy", marks=_promises)
async def test_a_valid_request(method: str, world: World) -> None:
    """A valid request is answered with what was made, changed, found or removed."""
    case = CASES[method]
    given = await case.request(world)
    sent = type(given)()
    sent.CopyFrom(given)
    await case.check(world, given, await world.admin.call(method, sent))
