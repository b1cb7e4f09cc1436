"""`getByReference`: a resource is found by scope, org, kind and slug, and by nothing less."""

from typing import Any

import grpc
import pytest

from tests.contract.methods.cases import CASES
from tests.contract.methods.facts import KINDS, METHODS, each_method
from tests.contract.methods.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.promise("1.67")]
METHODS_BY_REFERENCE = [method for method in METHODS if method.endswith(".getByReference")]
by_reference = each_method("reference", METHODS_BY_REFERENCE)


async def changed(method: str, world: World, **fields: Any) -> tuple[Any, Any]:
    """What the valid reference finds, and the reference with other values."""
    given = await CASES[method].request(world)
    found = await world.admin.call(method, given)
    for name, value in fields.items():
        setattr(given, name, value)
    return found, given


@by_reference
async def test_what_is_left_out(method: str, world: World) -> None:
    """The org is the key's and the kind is the service's where the reference does not say."""
    found, given = await changed(method, world, org="", kind=0)
    assert await world.admin.call(method, given) == found


@by_reference
async def test_another_kind(method: str, world: World) -> None:
    """INVALID_ARGUMENT that names the field, not a resource of another kind with that slug."""
    found, given = await changed(method, world)
    for kind in KINDS:
        if kind.name != found.kind:
            given.kind = kind.number
            code, text = await world.admin.refused(method, given)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert text.startswith("kind: ")


@by_reference
async def test_without_a_slug(method: str, world: World) -> None:
    """INVALID_ARGUMENT that names the field."""
    _, given = await changed(method, world, slug="")
    code, text = await world.admin.refused(method, given)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("slug: ")


@by_reference
async def test_what_is_the_platforms(method: str, world: World) -> None:
    """With the platform's scope an org's own resource is not found."""
    _, given = await changed(method, world, scope=1)
    code, text = await world.admin.refused(method, given)
    assert code is grpc.StatusCode.NOT_FOUND
    assert f"'{given.slug}'" in text


async def test_a_version_of_a_skill(world: World) -> None:
    """By its hash and by its tag; an unknown version is NOT_FOUND with its name."""
    method = "SkillQueryController.getByReference"
    found, given = await changed(method, world)
    for version in ("latest", "v1", found.status.version_hash):
        given.version = version
        assert await world.admin.call(method, given) == found
    for version in ("v9", "0" * 64):
        given.version = version
        code, text = await world.admin.refused(method, given)
        assert code is grpc.StatusCode.NOT_FOUND
        assert f"'{version}'" in text
