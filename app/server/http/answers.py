"""Answers and bodies: JSON in and out, `application/problem+json` for everything that goes wrong."""

from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from agent_runner.app.server.contract.json_text import read_json
from agent_runner.app.server.problems import Kind, Problem, invalid

PROBLEM = "application/problem+json"
MAX_RESOURCE_BYTES = 4 * 1024 * 1024
DRAINED = 8
"""Up to this many times the limit is read and dropped, so that the client can read the refusal."""
M = TypeVar("M", bound=BaseModel)


def problem_answer(problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if problem.kind is Kind.UNAUTHENTICATED else {}
    if problem.retry_after_s:
        headers["Retry-After"] = str(problem.retry_after_s)
    return JSONResponse(problem.as_json(), status_code=problem.kind.http_status, headers=headers, media_type=PROBLEM)


async def body_json(request: Request, limit: int, *, optional: bool = False, limited_by: str = "") -> Any:
    """The body as JSON; `{}` for no body if it is optional. Refuses a body over `limit` bytes without keeping it."""
    body = await body_bytes(request, limit, limited_by=limited_by)
    return {} if optional and not body else read_json(body, "the body")


async def body_object(request: Request) -> dict[str, Any]:
    """The body of a resource: a JSON object."""
    body = await body_json(request, MAX_RESOURCE_BYTES)
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object")
    return body


async def body_model(request: Request, model: type[M]) -> M:
    """The body as one of our models. A number in quotes is not a number."""
    body = await body_bytes(request, MAX_RESOURCE_BYTES)
    read_json(body, "the body")
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise invalid(_told(error.errors())) from None


async def body_bytes(request: Request, limit: int, *, limited_by: str = "") -> bytes:
    """The raw body. Refuses a body over `limit` bytes without keeping it; `limited_by` explains the limit."""
    kept: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limit:
            kept.append(piece)
        elif size > limit * DRAINED:
            break
    if size > limit:
        raise Problem(
            Kind.TOO_LARGE,
            f"the body has more than {limit} bytes" + (f": {limited_by}" if limited_by else ""),
            next_step="Put large content into a file of the workspace and name it in the message.",
        )
    return b"".join(kept)


def _told(errors: Any) -> str:
    """Pydantic's errors in one line."""
    return "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in errors)
