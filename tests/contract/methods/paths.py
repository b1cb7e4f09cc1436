"""Fields by their path: `spec.agent_id`."""

from typing import Any


def put(message: Any, path: str, value: str) -> None:
    *way, last = path.split(".")
    for name in way:
        message = getattr(message, name)
    setattr(message, last, value)


def identity(path: str, thing: Any) -> str:
    """What of a resource stands in a field with this path."""
    match path:
        case "slug":
            return str(thing.metadata.slug)
        case "artifact_storage_key":
            return str(thing.status.artifact_storage_key)
    return str(thing.metadata.id)
