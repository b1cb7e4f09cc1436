"""A session whose server learns that a call has been given up.

The `mcp` package (1.30) ends such a call on the side of the client alone; the server would work on, with all its
effects, for a run that has ended. The protocol asks for a notification: MCP 2025-06-18, Utilities, Cancellation.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import TypeVar

import anyio
from mcp import ClientSession
from mcp.shared.message import MessageMetadata
from mcp.shared.session import ProgressFnT
from mcp.types import (
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ClientRequest,
    InitializeRequest,
)
from pydantic import BaseModel

TELL_S = 1.0
"""For the notification to be written: a server that reads nothing does not hold up the end of a run."""
REASON = "the run does not wait for it any more"

Answer = TypeVar("Answer", bound=BaseModel)


class CancellingSession(ClientSession):
    async def send_request(
        self,
        request: ClientRequest,
        result_type: type[Answer],
        request_read_timeout_seconds: timedelta | None = None,
        metadata: MessageMetadata = None,
        progress_callback: ProgressFnT | None = None,
    ) -> Answer:
        request_id = self._request_id  # which the call below takes before it waits for anything
        try:
            return await super().send_request(
                request, result_type, request_read_timeout_seconds, metadata, progress_callback
            )
        except asyncio.CancelledError:
            if not isinstance(request.root, InitializeRequest):  # the protocol forbids to cancel that one
                await self._give_up(request_id)
            raise

    async def _give_up(self, request_id: int) -> None:
        params = CancelledNotificationParams(requestId=request_id, reason=REASON)
        notification = ClientNotification(CancelledNotification(params=params))
        with (
            anyio.move_on_after(TELL_S, shield=True),
            contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError),
        ):
            await self.send_notification(notification)
