"""An answer that lasts: it counts as an open stream from before its start until its end."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class LastingResponse(StreamingResponse):
    """A stream that counts as open until its end, also if its reader has gone before its start."""

    def __init__(self, place: ExitStack, chunks: AsyncIterator[str], **given: Any) -> None:
        super().__init__(chunks, **given)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            await super().__call__(scope, receive, send)
