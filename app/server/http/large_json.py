"""Writes JSON of any size in a thread and in parts. Between two parts other threads can run."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.responses import Response

PARTS_DEEP = 5
"""Deep enough to reach each message in the status of each entry of a list."""


async def json_answer(content: Any, *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Like `JSONResponse`, for content of any size."""
    text = await json_text(content)
    return Response(text, status_code=status_code, headers=headers, media_type="application/json")


async def json_text(content: Any) -> str:
    return await asyncio.to_thread(lambda: "".join(_parts(content, PARTS_DEEP)))


def _parts(value: Any, deep: int) -> Iterator[str]:
    if deep and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        before = "{"
        for name, inner in value.items():
            yield f"{before}{_written(name)}:"
            yield from _parts(inner, deep - 1)
            before = ","
        yield "}" if value else "{}"
    elif deep and isinstance(value, list):
        before = "["
        for inner in value:
            yield before
            yield from _parts(inner, deep - 1)
            before = ","
        yield "]" if value else "[]"
    else:
        yield _written(value)


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
