"""Answers and bodies: JSON in and out, `application/problem+json` for everything that goes wrong."""

import json
from typing import Any, NoReturn

from fastapi import Request
from fastapi.responses import JSONResponse

from app.server.problems import Kind, Problem, invalid

PROBLEM = "application/problem+json"
DRAINED = 8
"""So many times the limit is read and dropped, so that the sender gets to read the refusal."""


def problem_answer(problem: Problem) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if problem.kind is Kind.UNAUTHENTICATED else None
    return JSONResponse(problem.as_json(), status_code=problem.kind.http_status, headers=headers, media_type=PROBLEM)


async def body_json(request: Request, limit: int, *, optional: bool = False) -> Any:
    """The body as JSON; `{}` for none where it is optional. Refuses what is longer than `limit` without keeping it."""
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
            f"the body has more than {limit} bytes",
            next_step="Put large content into a file of the workspace and name it in the message.",
        )
    if optional and not size:
        return {}
    try:
        return json.loads(b"".join(kept), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is not JSON: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
