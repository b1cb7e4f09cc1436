"""The scope that each call of a front end needs: what the same call under /v1/executions needs."""

from collections.abc import Mapping

from agent_runner.status.api_keys import Scope

FRONT_END_SCOPES: Mapping[str, Scope] = {
    "POST /v1/agui/{agent}": Scope.EXECUTE,
    "GET /v1/agui/{agent}/{thread_id}/stream": Scope.READ,
    "POST /v1/agui/{agent}/{thread_id}/cancel": Scope.EXECUTE,
    "POST /v1/ai-sdk/{agent}": Scope.EXECUTE,
    "GET /v1/ai-sdk/{agent}/{chat_id}/stream": Scope.READ,
    "POST /v1/ai-sdk/{agent}/{chat_id}/cancel": Scope.EXECUTE,
}
