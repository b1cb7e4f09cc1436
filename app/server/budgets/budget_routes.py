"""`/v1/budgets`: what orgs have used of their budgets."""

from typing import Any

from fastapi.responses import JSONResponse, Response

from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.document.schemas import STRING, answer, object_of
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.log.log import rfc3339
from agent_runner.status.requests.org_budgets import REFUSE, WAIT, WINDOWS
from agent_runner.status.store.turns.org_use import Use

_TIME = {"type": "string", "format": "date-time"}
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_BUDGET = object_of(
    org=STRING,
    window={"enum": list(WINDOWS)},
    began_at=_TIME,
    free_at={**_TIME, "description": "when the next window begins"},
    limits={**_NUMBERS, "description": "by measure: executions, tokens, cost:CURRENCY"},
    used=_NUMBERS,
    spent={"type": "string", "description": "the measure whose limit is reached; empty while there is room"},
    reached={"enum": [REFUSE, WAIT]},
)


def budget_json(use: Use) -> dict[str, Any]:
    return {
        "org": use.org,
        "window": use.budget.window,
        "began_at": rfc3339(use.began),
        "free_at": rfc3339(use.began + use.budget.seconds),
        "limits": dict(use.budget.limits),
        "used": {name: use.used.get(name, 0.0) for name in use.budget.limits},
        "spent": use.budget.spent(use.used),
        "reached": WAIT if use.budget.waits else REFUSE,
    }


def budget_routes(edges: Edges) -> RouteGroup:
    routes = RouteGroup(prefix="/v1/budgets", tags=["budgets"])
    shown = object_of(budgets={"type": "array", "items": _BUDGET})

    @routes.get("", responses={200: answer(shown)})
    async def budgets() -> Response:
        """What the caller's org has used of its budgets in their present windows; for a key of all orgs, each org."""
        found = await edges.ctx.store.org_uses(org="")
        return JSONResponse({"budgets": [budget_json(one) for one in found]})

    return routes
