"""Pages by offset, told in headers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi.responses import JSONResponse

TOTAL, NEXT = "X-Pagination-Total", "X-Pagination-Next"


def page_answer(shown: Sequence[Any], *, offset: int, limit: int, total: int) -> JSONResponse:
    """One page. `total`: how many there are in all."""
    headers = {TOTAL: str(total)}
    if offset + limit < total:
        headers[NEXT] = str(offset + limit)
    return JSONResponse(list(shown), headers=headers)


def selected(shown: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """Only these fields; all without names."""
    return {name: value for name, value in shown.items() if name in names} if names else shown


def iso(at: float | None) -> str | None:
    """A time of day as this API writes it."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
