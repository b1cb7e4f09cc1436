"""Bodies of requests. Unknown fields are ignored, as clients of other versions send them; bad ones are a 422."""

from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.contract.json_text import WHOLE, read_json
from agent_runner.app.server.contract.texts import without_nul
from agent_runner.app.server.http.answers import MAX_RESOURCE_BYTES, body_bytes
from agent_runner.app.server.problems import Kind, Problem

M = TypeVar("M")
Json = dict[str, Any]
TEXT = r"^[^\x00]*$"
"""No database keeps a NUL character in a text."""
Name = Annotated[str, Field(pattern=TEXT, max_length=10_000)]
JsonObject = Annotated[Json, AfterValidator(without_nul)]
"""What lists look into. One row with a NUL would fail every look on Postgres."""
Limit = Annotated[int, Field(ge=1, le=1000), WHOLE]
Offset = Annotated[int, Field(ge=0, lt=1 << 31), WHOLE]


class Body(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="ignore", strict=True)


async def sent(request: Request, model: type[M], *, limit: int = MAX_RESOURCE_BYTES, optional: bool = False) -> M:
    """The body as `model`. Raises UNPROCESSABLE, or TOO_LARGE for more than `limit` bytes. `optional`: no body counts
    as an empty object."""
    text = await body_bytes(request, limit)
    if optional and not text.strip():
        text = b"{}"
    try:
        read_json(text, "the body")
    except Problem as problem:
        if problem.kind is not Kind.INVALID_ARGUMENT:
            raise
        raise unprocessable(f"Invalid JSON in request body: {problem.detail}") from None
    try:
        return TypeAdapter(model).validate_json(text)
    except ValidationError as error:
        raise unprocessable(_told(error)) from None


def _told(error: ValidationError) -> str:
    """Pydantic's errors in one line."""
    return "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'the body'}: {e['msg']}" for e in error.errors())
