"""An assistant as this API shows it."""

from typing import Any

from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.status.store.registry.assistants import Assistant


def assistant_json(assistant: Assistant) -> dict[str, Any]:
    """`config.configurable` and `context` are two names of the same values: clients see what was given under both."""
    config, context = dict(assistant.config), dict(assistant.context)
    if given := dict(config.get("configurable") or {}) or context:
        config["configurable"] = given
    return {
        "assistant_id": assistant.id,
        "graph_id": assistant.graph,
        "name": assistant.name,
        "description": assistant.description,
        "config": config,
        "context": context or given,
        "metadata": dict(assistant.metadata),
        "version": assistant.version,
        "created_at": iso(assistant.first_made_at),
        "updated_at": iso(assistant.created_at),
    }
