"""The largest request of each method. A larger one is refused before it is parsed."""

from agent_runner.app.server.access.scopes import needed
from agent_runner.app.server.contract.create_limits import create_bytes, create_limits
from agent_runner.app.server.grpc_api.reading import Most
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.skills.archive import MAX_ARCHIVE_BYTES
from agent_runner.status.api_keys import Scope

MOST_BYTES = 64 << 20
"""The limit of any message, in both directions. A runner may send a graph's output, `updateStatus` a whole status."""
CALL_BYTES = 4 << 20
BESIDE_THE_ARCHIVE = 64 << 10
_PUSH = "/ai.stigmer.agentic.skill.v1.SkillCommandController/push"
_CREATE = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionCommandController/create"
_UPDATE_STATUS = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionCommandController/updateStatus"


def most_of(method: str, settings: Settings) -> Most:
    if needed(method) is Scope.RUNNER or method == _UPDATE_STATUS:
        return Most(MOST_BYTES)
    if method == _PUSH:
        return Most(MAX_ARCHIVE_BYTES + BESIDE_THE_ARCHIVE)
    if method == _CREATE:
        return Most(min(MOST_BYTES, max(CALL_BYTES, create_bytes(settings))), create_limits(settings))
    return Most(CALL_BYTES)
