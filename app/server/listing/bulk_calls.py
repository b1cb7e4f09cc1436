"""One call for many executions: each is done by itself, and what happened to it is told. One refusal stops nothing."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agent_runner.app.server.http.document.schemas import STRING, Schema, object_of
from agent_runner.app.server.problems import internal, of_exception
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)
MAX_IDS = 500
MAX_ID_CHARS = 255


class Ids(BaseModel):
    """The body of a bulk call."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS, pattern="^[^\\u0000]*$")]],
        Field(min_length=1, max_length=MAX_IDS),
    ]


_RESULT: Schema = object_of(id=STRING, ok={"type": "boolean"})
_RESULT["properties"] |= {
    "detail": {**STRING, "description": "why not"},
    "code": STRING,
    "nextStep": STRING,
    "made": {**STRING, "description": "the id of the new execution, of a redrive"},
}
RESULTS: Schema = object_of(results={"type": "array", "items": _RESULT})


async def each(ids: Iterable[str], do: Callable[[str], Awaitable[dict[str, Any] | None]]) -> dict[str, Any]:
    """`do` for each of the ids, once and in order. What it returns is shown with the id."""
    return {"results": [await _one(id, do) for id in dict.fromkeys(ids)]}


async def _one(id: str, do: Callable[[str], Awaitable[dict[str, Any] | None]]) -> dict[str, Any]:
    try:
        return {"id": id, "ok": True, **(await do(id) or {})}
    except Exception as error:
        problem = of_exception(error)
        if problem is None:
            log.exception("bulk.failed", execution_id=id)
            problem = internal()
        return {"id": id, "ok": False, "detail": problem.detail, "code": problem.code, "nextStep": problem.next_step}
