"""The bodies of requests about runs."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from agent_runner.app.server.agent_server.request_bodies import Body, JsonObject
from agent_runner.app.server.contract.json_text import WHOLE

Mode = Literal["values", "messages", "messages-tuple", "tasks", "checkpoints", "updates", "events", "debug", "custom"]
MODES = Mode.__args__  # type: ignore[attr-defined]
WEBHOOK = r"^(https?://[^\x00-\x20/?#@:]+(:[0-9]{1,5})?([/?#][^\x00-\x20]*)?)?$"
"""An address with a host, without user and password; empty counts as none."""
Json = dict[str, Any]
_UUID_TEXT: Json = {"type": "string", "format": "uuid"}
_NAMED: Json = {
    "required": ["thread_id", "run_ids"],
    "properties": {
        "thread_id": _UUID_TEXT,
        "run_ids": {"type": "array", "minItems": 1, "items": _UUID_TEXT},
        "status": {"type": "null"},
    },
}
_BY_STATUS: Json = {
    "required": ["status"],
    "properties": {"status": {"type": "string"}, "thread_id": {"type": "null"}, "run_ids": {"type": "null"}},
}


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


class Checkpoint(Body):
    checkpoint_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: Json | None = None
    thread_id: str | None = None


class Send(Body):
    node: str
    input: Any = None


class Command(Body):
    update: Json | list[Any] | None = None
    resume: Any = None
    goto: str | Send | list[str | Send] | None = None


class RunConfig(Body):
    model_config = ConfigDict(extra="allow", strict=True)

    tags: list[str] | None = None
    recursion_limit: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = None
    configurable: Json | None = None
    metadata: JsonObject | None = None


class RunCreate(Body):
    assistant_id: str
    input: Any = None
    command: Command | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = None
    config: RunConfig | None = None
    context: Json | None = None
    metadata: JsonObject | None = None
    stream_mode: Annotated[list[Mode] | None, BeforeValidator(_listed)] = None
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: Literal["reject", "rollback", "interrupt", "enqueue"] | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    on_completion: Literal["delete", "keep"] | None = None
    after_seconds: float | None = Field(default=None, ge=0, le=31_536_000, allow_inf_nan=False)
    durability: Literal["sync", "async", "exit"] | None = None
    checkpoint_during: bool | None = None
    webhook: Annotated[str, Field(json_schema_extra={"pattern": WEBHOOK})] | None = None
    feedback_keys: list[str] | None = None

    @property
    def modes(self) -> list[str]:
        return list(dict.fromkeys(self.stream_mode or ["values"]))


class RunsCancel(Body):
    """By their ids, or all of a status."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_NAMED, _BY_STATUS]})

    status: Literal["pending", "running", "all"] | None = None
    thread_id: str | None = None
    run_ids: list[str] | None = None
