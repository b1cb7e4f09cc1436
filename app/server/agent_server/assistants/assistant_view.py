"""An assistant as this API shows it."""

from typing import Any

from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.status.store.registry.assistants import Assistant


def assistant_json(assistant: Assistant) -> dict[str, Any]:
    return {
        "assistant_id": assistant.id,
        "graph_id": assistant.graph,
        "name": assistant.name,
        "description": assistant.description,
        "config": dict(assistant.config),
        "context": dict(assistant.context),
        "metadata": dict(assistant.metadata),
        "version": assistant.version,
        "created_at": iso(assistant.first_made_at),
        "updated_at": iso(assistant.created_at),
    }
