"""Every method asks for a key of the server, and for one that may do this; before that it does nothing."""

from typing import Any

import grpc
import pytest

from tests.contract.methods.caller import Caller, Metadata
from tests.contract.methods.cases import CASES
from tests.contract.methods.databases import ON_SQLITE
from tests.contract.methods.facts import each_method
from tests.contract.methods.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), ON_SQLITE]
SCOPES = ("read", "execute", "admin", "runner")
OPENED_BY = {"read": {"read", "execute", "admin"}, "execute": {"execute", "admin"}, "admin": {"admin"}}
OPENED_BY["runner"] = {"runner"}
WRONG: dict[str, Metadata] = {
    "none": (),
    "empty": (("authorization", ""),),
    "unknown": (("authorization", "Bearer wrong"),),
    "never-made": (("authorization", f"Bearer ark_{'0' * 16}_{'0' * 64}"),),
    "no-scheme": (("authorization", "test-key"),),
    "other-scheme": (("authorization", "Basic test-key"),),
    "other-header": (("x-api-key", "test-key"),),
}


async def _accepted(method: str, world: World, caller: Caller, given: Any) -> None:
    """What was refused before is done now, for the first time."""
    await CASES[method].check(world, given, await caller.call(method, given))


@pytest.mark.promise("1.15")
@pytest.mark.promise("1.17")
@each_method("no-key")
async def test_without_a_key(method: str, world: World) -> None:
    """No key, a wrong one, or one that is not sent as `Bearer`: UNAUTHENTICATED, and nothing was done."""
    given = await CASES[method].request(world)
    before = await world.all()
    for metadata in WRONG.values():
        code, text = await Caller(world.channel, metadata).refused(method, given)
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "Authorization: Bearer" in text
    assert await world.all() == before
    await _accepted(method, world, world.admin, given)


@each_method("scope")
async def test_scopes(method: str, world: World) -> None:
    """A key without the scope is PERMISSION_DENIED with the scope that is missing; the least scope is enough."""
    given, needed = await CASES[method].request(world), CASES[method].scope
    before = await world.all()
    for scope in SCOPES:
        if scope not in OPENED_BY[needed]:
            code, text = await (await world.caller(scope)).refused(method, given)
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert f"the scope '{needed}'" in text
    assert await world.all() == before
    await _accepted(method, world, await world.caller(needed), given)
