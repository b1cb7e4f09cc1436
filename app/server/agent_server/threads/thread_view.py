"""A thread as this API shows it."""

import re
from typing import Any

from agent_runner.app.server.agent_server.assistants.assistant_service import default_id
from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.app.server.agent_server.uuids import thread_uuid
from agent_runner.status.store.registry.threads import Thread


def thread_json(
    thread: Thread,
    state: dict[str, Any] | None = None,
    *,
    failure: dict[str, Any] | None = None,
    with_ttl: bool = False,
) -> dict[str, Any]:
    """`state`: that of the head, if it is known otherwise. `failure`: of the run that left it in `error`."""
    state = state or thread.known_state
    graph = {"graph_id": thread.graph, "assistant_id": default_id(thread.graph)} if thread.graph else {}
    shown: dict[str, Any] = {
        "thread_id": thread_uuid(thread.session_id),
        "created_at": iso(thread.created_at),
        "updated_at": iso(thread.updated_at),
        "state_updated_at": iso(thread.state_updated_at or thread.updated_at),
        "metadata": {**graph, **thread.metadata},
        "status": thread.status.value,
        "config": thread.config,
        "values": state.get("values") if state else None,
    }
    if thread.last_execution_id:
        shown["error"] = failure
        shown["interrupts"] = interrupts_of(state)
    if with_ttl:
        shown["ttl"] = thread.ttl
    return shown


def interrupts_of(state: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Open interrupts by the id of their task."""
    tasks = (state or {}).get("tasks") or []
    found = {
        task["id"]: [{"id": one["id"], "value": one["value"]} for one in task["interrupts"]]
        for task in tasks
        if task.get("interrupts")
    }
    return dict(found)


def extracted(thread: dict[str, Any], path: str) -> Any:
    """The value at a path such as `values.messages[0].content` or `metadata.title`; null where there is none."""
    found: Any = thread if path else None
    for name, index in _STEP.findall(path):
        if index:
            at = int(index)
            found = found[at] if isinstance(found, list) and -len(found) <= at < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            return None
    return found


_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d{1,9})\]")
