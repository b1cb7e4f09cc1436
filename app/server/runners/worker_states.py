"""Whether a worker process is there, from what the server knows of it."""

from agent_runner.status.store.records import Worker


def state_of(worker: Worker, silent_before: float) -> str:
    """`online`, `silent` (nothing was heard since `silent_before`), `disconnected` or `gone`."""
    if worker.gone_at is not None:
        return "gone"
    if worker.disconnected_at is not None:
        return "disconnected"
    return "silent" if worker.last_seen_at < silent_before else "online"
