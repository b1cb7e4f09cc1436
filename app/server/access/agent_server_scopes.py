"""The scope that each call of the Agent Server API needs. What it does is what the same call under /v1 needs."""

from collections.abc import Mapping

from agent_runner.status.api_keys import Scope

OPEN = ("GET /ok", "GET /info")
"""Calls that need no key."""
_READ = (
    *("POST /assistants/search", "POST /assistants/count", "GET /assistants/{assistant_id}"),
    *("POST /assistants/{assistant_id}/versions", "GET /assistants/{assistant_id}/schemas"),
    *("GET /assistants/{assistant_id}/graph", "GET /assistants/{assistant_id}/subgraphs"),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}",
    *("POST /threads/search", "POST /threads/count", "GET /threads/{thread_id}"),
    *("GET /threads/{thread_id}/state", "POST /threads/{thread_id}/state/checkpoint"),
    *("GET /threads/{thread_id}/state/{checkpoint_id}", "POST /threads/{thread_id}/history"),
    *("GET /threads/{thread_id}/history", "GET /threads/{thread_id}/storage"),
    *("GET /store/items", "POST /store/items/search", "POST /store/namespaces"),
    *("GET /threads/{thread_id}/runs", "GET /threads/{thread_id}/stream", "POST /threads/{thread_id}/stream/events"),
    *(f"GET /threads/{{thread_id}}/runs/{{run_id}}{form}" for form in ("", "/join", "/stream")),
    *(
        "GET /runs/{run_id}/stream",
        "GET /runs/{run_id}/join",
        "POST /runs/crons/search",
        "POST /runs/crons/count",
        "GET /runs/crons/{cron_id}",
    ),
)
_EXECUTE = (
    *("POST /threads", "PATCH /threads/{thread_id}", "POST /threads/{thread_id}/copy"),
    *("POST /threads/{thread_id}/state", "PUT /store/items", "DELETE /store/items"),
    *(f"POST /threads/{{thread_id}}/runs{form}" for form in ("", "/stream", "/wait")),
    *(f"POST /runs{form}" for form in ("", "/stream", "/wait", "/batch", "/cancel")),
    *("POST /threads/{thread_id}/runs/{run_id}/cancel", "DELETE /threads/{thread_id}/runs/{run_id}"),
    *("POST /threads/{thread_id}/commands", "POST /threads/{thread_id}/runs/crons", "POST /runs/crons"),
    *("PATCH /runs/crons/{cron_id}", "DELETE /runs/crons/{cron_id}"),
)
_ADMIN = (
    *("POST /assistants", "PATCH /assistants/{assistant_id}", "DELETE /assistants/{assistant_id}"),
    *("POST /assistants/{assistant_id}/latest", "DELETE /threads/{thread_id}", "POST /threads/prune"),
)
AGENT_SERVER_SCOPES: Mapping[str, Scope] = {
    **dict.fromkeys(_READ, Scope.READ),
    **dict.fromkeys(_EXECUTE, Scope.EXECUTE),
    **dict.fromkeys(_ADMIN, Scope.ADMIN),
}
