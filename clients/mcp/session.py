"""One server of a run: it is started and left in one task of its own, and called from any.

A server that does not start raises McpServerError. From then on nothing that it does fails the run: a call that cannot
be answered returns a result that is an error and says why.

The session with a server elsewhere is opened again by the next call after it has ended: one answer that is no success
(a 503 of a gateway, a connection that is refused) ends it in the `mcp` package. A server that has been restarted knows
it no more; a call that this server did not take for that reason is made again at once. A program is not started again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import ClientSession, McpError
from mcp.types import CONNECTION_CLOSED, CallToolResult, PaginatedRequestParams, TextContent, Tool
from pydantic import ValidationError

from agent_runner.clients.mcp.cancellation import CancellingSession
from agent_runner.clients.mcp.definition import Address, McpServerError, Program, Server
from agent_runner.clients.mcp.program import RunningProgram, Streams, started
from agent_runner.clients.mcp.remote import Tokens, reached
from agent_runner.clients.sandbox.kinds.port import Sandbox
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)
MAX_PAGES, MAX_TOOLS = 100, 1000
STARTS = 5
CLOSE_S = 3.0
TERMINATED = "Session terminated"
"""The words of the `mcp` package for the answer 404: the server does not know the session."""
UNKNOWN_AGAIN = (
    "it does not know the session that was just opened; several servers behind one address must share their sessions"
)
NO_SANDBOX = "it is a program, which runs in the sandbox, and this worker has none (AGENT_RUNNER_SANDBOX=none)"


class ServerSession:
    def __init__(self, server: Server, sandbox: Sandbox | None, *, private: bool) -> None:
        self.server = server
        self.tokens = Tokens()
        self._sandbox, self._private = sandbox, private
        self._program: RunningProgram | None = None
        self._session: ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._failed = ""
        self._opening = asyncio.Lock()
        self._under_way = 0
        self._no_call = asyncio.Event()
        self._no_call.set()
        self._over = False

    async def start(self) -> list[Tool]:
        """Its tools. Raises McpServerError; then nothing of it is left."""
        if isinstance(self.server.at, Program) and self._sandbox is None:
            raise McpServerError(self.server.name, NO_SANDBOX)
        for left in reversed(range(STARTS)):
            try:
                return await self._start()
            except McpServerError:
                late = self._program is not None and self._program.came_too_late
                if not (late and left):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _start(self) -> list[Tool]:
        ready: asyncio.Future[list[Tool]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(ready))
        try:
            async with asyncio.timeout(self.server.start_timeout_s):
                return await asyncio.shield(ready)
        except TimeoutError:
            said = await self._program.how_it_ended(0) if self._program else ""
            text = f"it was not ready within {self.server.start_timeout_s:g} s (start_timeout_s)"
            raise McpServerError(self.server.name, f"{text}{'; ' if said else ''}{said}") from None
        finally:
            if not ready.done() or ready.cancelled() or ready.exception() is not None:
                ready.cancel()
                await self._leave_session()

    async def _live(self, ready: "asyncio.Future[list[Tool]]") -> None:
        try:
            async with self._streams() as (read, write), CancellingSession(read, write) as session:
                await session.initialize()
                tools = await _listed(session)
                self._session = session
                if not ready.done():
                    ready.set_result(tools)
                await self._leave.wait()
        except Exception as error:
            cause = _cause(error)
            ended = await self._program.how_it_ended() if self._program else ""
            self._failed = ended or f"{type(cause).__name__}: {cause}".rstrip(": ")
            if not ready.done():
                failure = McpServerError(self.server.name, self._failed)
                failure.__cause__ = cause  # tells whether another try may help
                ready.set_exception(failure)
            else:
                log.warning("mcp.session_failed", server=self.server.name, error=self._failed)
        finally:
            self._session = None

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[Streams]:
        at = self.server.at
        if isinstance(at, Address):
            limits = {"connect_s": self.server.start_timeout_s, "private": self._private}
            async with reached(at, self.tokens, **limits) as streams:  # type: ignore[arg-type]
                yield streams
            return
        assert self._sandbox is not None
        self._program = await started(self._sandbox, at)
        try:
            async with self._program.streams() as streams:
                yield streams
        finally:
            await self._program.end()

    async def call(self, tool: str, args: dict[str, Any]) -> CallToolResult:
        """Raises nothing: what goes wrong is the result."""
        used = self._session
        result = await self._called(used, tool, args) if used is not None else None
        if result is not None or isinstance(self.server.at, Program):
            return result or self._error(await self._ending())
        try:
            opened = await self._open_again(used)
        except McpServerError as error:
            return self._error(str(error))
        again = await self._called(opened, tool, args) if opened is not None else None
        return again or self._error(self._failed or UNKNOWN_AGAIN)

    async def _called(self, session: ClientSession, tool: str, args: dict[str, Any]) -> CallToolResult | None:
        """The result, or the error as a result. None: the session has ended, and the server did not take the call."""
        within_s = self.server.call_timeout_s
        self._under_way += 1
        self._no_call.clear()
        try:
            async with asyncio.timeout(within_s):
                return await session.call_tool(tool, args)
        except TimeoutError:
            return self._error(f"it did not answer the call of '{tool}' within {within_s:g} s (call_timeout_s)")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):  # nobody reads what is to be sent
            return None
        except McpError as error:
            if error.error.code == CONNECTION_CLOSED:
                return self._error(await self._ending())
            if error.error.message == TERMINATED:
                return None
            return self._error(f"it refused the call of '{tool}': {error.error.message}")
        except (RuntimeError, ValidationError) as error:  # a result that is not what the server itself has announced
            return self._error(f"its answer to '{tool}' is not valid: {error}")
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._no_call.set()

    async def _open_again(self, ended: ClientSession | None) -> ClientSession | None:
        """A session in place of the one that has ended. Calls that come together open one. Raises McpServerError."""
        async with self._opening:
            if self._session in (ended, None) and not self._over:
                # A call that is under way would get no answer any more, also not that the session has ended.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._no_call.wait(), CLOSE_S)
                await self._leave_session()
                self._failed = ""
                await self._start()
                log.info("mcp.opened_again", server=self.server.name)
            return self._session

    async def _ending(self) -> str:
        ended = await self._program.how_it_ended() if self._program else ""
        return ended or self._failed or "the connection to it has ended"

    def _error(self, text: str) -> CallToolResult:
        said = f"MCP server '{self.server.name}': {text}"
        return CallToolResult(content=[TextContent(type="text", text=said)], isError=True)

    async def close(self) -> None:
        """Leave the server, or end it. Takes a limited time. Idempotent."""
        self._over = True
        await self._leave_session()

    async def _leave_session(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        self._leave.set()
        if self._session is None:
            task.cancel()
        await asyncio.wait({task}, timeout=CLOSE_S)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE_S)
        self._leave = asyncio.Event()
        if not task.cancelled() and task.done():
            with contextlib.suppress(BaseException):
                task.result()


async def _listed(session: ClientSession) -> list[Tool]:
    tools: list[Tool] = []
    page = await session.list_tools()
    for _ in range(MAX_PAGES):
        tools += page.tools
        if not page.nextCursor or len(tools) >= MAX_TOOLS:
            break
        page = await session.list_tools(params=PaginatedRequestParams(cursor=page.nextCursor))
    return tools[:MAX_TOOLS]


def _cause(error: BaseException) -> BaseException:
    """The first error in a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
