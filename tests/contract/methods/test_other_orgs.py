"""What belongs to one org, a key of another org neither reads nor changes, by no method."""

from typing import Any

import grpc
import pytest

from tests.contract.methods.cases import ARTIFACT, CASES
from tests.contract.methods.databases import ON_SQLITE
from tests.contract.methods.drafts import changed
from tests.contract.methods.facts import EXECUTION, METHODS, SKILL, Kind, each_method
from tests.contract.methods.paths import identity, put
from tests.contract.methods.world import World, kind_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
REFUSED = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
LISTS = [m for m, facts in METHODS.items() if "List" in facts.output.rpartition(".")[2]]
NAMES = [
    pytest.param(method, path, kind, id=f"{method}-{path}-other-org")
    for method, case in CASES.items()
    for path, kind in case.names.items()
    if case.scope != "runner"  # no key of an org may call it
]


def _promises(method: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.promise("1.67")] if method.endswith(".getByReference") else []


@ON_SQLITE
@each_method("other-org", [method for method in METHODS if method not in LISTS], marks=_promises)
async def test_the_same_request(method: str, world: World, other: World) -> None:
    """What an org may ask, another may not: refused, and all that is there is as it was."""
    given = await CASES[method].request(world)
    before = await world.all()
    # A key of that org, and no runner's beside it, which has no org.
    code, text = await (await other.caller("admin")).refused(method, given)
    assert code in REFUSED, text
    assert await world.all() == before
    await CASES[method].check(world, given, await world.admin.call(method, given))


@each_method("other-org", LISTS)
async def test_lists(method: str, world: World, other: World) -> None:
    """A list shows an org what is its own: of another org neither the entries nor their number."""
    given = await CASES[method].request(world)
    assert (await world.admin.call(method, given)).ListFields()
    assert not (await other.admin.call(method, given)).ListFields()
    mine = await CASES[method].request(other)
    await CASES[method].check(other, mine, await other.admin.call(method, mine))


@ON_SQLITE
@pytest.mark.parametrize(("method", "path", "kind"), NAMES)
async def test_names_of_another_org(method: str, path: str, kind: Kind, world: World, other: World) -> None:
    """A request of one's own that names something of another org is refused, as if that were not there."""
    given = await CASES[method].request(other)
    theirs = await world.make(SKILL if kind is ARTIFACT else kind)
    if kind is EXECUTION and path != "execution_id":
        theirs = await world.end(theirs)
    before: dict[str, Any] = await world.all()
    put(given, path, identity(path, theirs))
    code, text = await other.admin.refused(method, given)
    assert code is grpc.StatusCode.NOT_FOUND, text
    assert world.org not in text
    assert await world.all() == before


@each_method("other-org-existing", [method for method in METHODS if method.endswith(".apply")])
async def test_apply_to_what_exists(method: str, world: World, other: World) -> None:
    """Neither the id nor the slug of another org's resource leads to it: refused, and it is as it was."""
    made = await world.admin.call(method, await CASES[method].request(world))
    kind = kind_of(made.metadata.id)
    for id in (made.metadata.id, ""):
        given = changed(made)
        given.metadata.id = id
        code, text = await other.admin.refused(method, given)
        assert code in REFUSED, text
        assert await world.get(kind, made.metadata.id) == made
