"""Traces to LangSmith, when the operator asked for them: everything that is sent has been through the run's mask.

One client per process sends what all runs say. It finds the run of each call through the context variable, as tools do,
and masks with the secrets of that run and of the operator. What is said outside of a run has no mask, and is not sent.
Attachments (bytes that cannot be masked) and other destinations than the operator's are left out.
"""

import json
from typing import TYPE_CHECKING, Any

from langsmith import Client

from agent_runner.clients.engine.current import current_run
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.tracing.switches import configure_all
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)
ELSEWHERE = frozenset(
    {
        *("api_key", "api_url", "service_key", "tenant_id", "authorization", "cookie", "_replica_auths", "address"),
        *("attachments", "dangerously_allow_filesystem", "session_id", "session_name", "project_name"),
    }
)
"""Arguments that name another destination, or hold bytes."""
MASKED_BY_THE_CLIENT = frozenset({"inputs", "outputs"})
"""Langsmith hands these to the anonymizer itself, after it has made plain JSON of them."""
KEPT = frozenset({"id", "trace_id", "parent_run_id", "dotted_order", "start_time", "end_time", "reference_example_id"})


class MaskedClient(Client):
    """`create_run` and `update_run` are the two calls that every tracer makes."""

    def __init__(self, *, api_url: str, api_key: str, project: str) -> None:
        super().__init__(
            api_url=api_url,
            api_key=api_key,
            anonymizer=_anonymized,
            hide_inputs=False,
            hide_outputs=False,
            hide_metadata=False,
            # What it collects is remembered for the process, also from variables of the first run's own.
            omit_traced_runtime_info=True,
            tracing_mode="langsmith",
        )
        self._own_project = project

    def create_run(self, name: str, inputs: dict[str, Any], run_type: Any, **rest: Any) -> None:
        mask = _mask()
        if mask is not None:
            given = _told(mask, rest)
            super().create_run(mask(name), inputs, run_type, project_name=self._own_project, **given)

    def update_run(self, run_id: Any, **rest: Any) -> None:
        mask = _mask()
        if mask is not None:
            super().update_run(run_id, session_name=self._own_project, **_told(mask, rest))


class LangSmithTraces:
    """`start` in each process that runs agents, after any fork; `close` sends what is left, for a limited time."""

    def __init__(self, client: MaskedClient) -> None:
        self._client = client

    @classmethod
    def start(cls, settings: "Settings") -> "LangSmithTraces | None":
        """None when they are off: not asked for, or LangSmith's own address without a key."""
        if not settings.langsmith_tracing:
            return None
        key = settings.langsmith_api_key.get_secret_value()
        if not key and not settings.given("langsmith_endpoint"):
            log.warning("langsmith.off", reason="LANGSMITH_TRACING is on, but LANGSMITH_API_KEY is not set")
            return None
        client = MaskedClient(
            api_url=settings.langsmith_endpoint, api_key=key or "none", project=settings.langsmith_project
        )
        configure_all(client=client, enabled=True, project_name=settings.langsmith_project)
        log.info("langsmith.on", endpoint=settings.langsmith_endpoint, project=settings.langsmith_project)
        return cls(client)

    def close(self, within_s: float) -> None:
        configure_all(client=None, enabled=False, project_name=None)
        self._client.close(timeout=within_s)


def _mask() -> Mask | None:
    run = current_run()
    return run.mask if run is not None else None


def _anonymized(value: dict[str, Any]) -> dict[str, Any]:
    mask = _mask()
    masked: dict[str, Any] = _masked(mask, value) if mask is not None else {}
    return masked


def _told(mask: Mask, given: dict[str, Any]) -> dict[str, Any]:
    told = {}
    for name, value in given.items():
        if name in ELSEWHERE:
            continue
        told[name] = value if name in KEPT | MASKED_BY_THE_CLIENT or value is None else _masked(mask, _plain(value))
    return told


def _plain(value: Any) -> Any:
    """The value as JSON has it: an object that would say more when it is sent must be a text before it is masked."""
    try:
        return json.loads(json.dumps(value, default=_text))
    except (TypeError, ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else repr(value)


def _masked(mask: Mask, value: Any) -> Any:
    match value:
        case str():
            return mask(value)
        case dict():
            return {_masked(mask, name): _masked(mask, inner) for name, inner in value.items()}
        case list() | tuple():
            return [_masked(mask, inner) for inner in value]
    return value
