"""Every rule of the contract, in every request that it applies to: what breaks it is refused, with the field named."""

import grpc
import pytest

from tests.contract.methods.cases import CASES
from tests.contract.methods.databases import ON_SQLITE
from tests.contract.methods.violations import Breach, breaches
from tests.contract.methods.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), ON_SQLITE]
_REQUESTS: dict[tuple[str, str], object] = {}
"""Valid requests by org and method: what is refused changes nothing, so that one serves many tests."""


def _case(breach: Breach) -> object:
    ids = []
    if breach.clause.label == "equal":
        ids += ["1.01", "1.02"]
    if breach.clause.label == "required" and [step["name"] for step in breach.steps] in (["value"], ["resource_id"]):
        ids.append("1.12")
    return pytest.param(breach, id=breach.id, marks=[pytest.mark.promise(id) for id in ids])


@pytest.mark.parametrize("breach", [_case(breach) for breach in breaches()])
async def test_a_broken_rule(breach: Breach, quiet: World) -> None:
    """INVALID_ARGUMENT; the text begins with the path of the field, and is the contract's where it has one."""
    key = (quiet.org, breach.method)
    if key not in _REQUESTS:
        _REQUESTS[key] = await CASES[breach.method].request(quiet)
    for path, request in breach.broken(_REQUESTS[key]):
        code, text = await quiet.admin.refused(breach.method, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, (path, text)
        assert text.startswith((f"{path} ", f"{path}:")), text
        assert breach.clause.says in text
