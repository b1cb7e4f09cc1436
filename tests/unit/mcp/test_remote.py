"""Servers that run elsewhere: streamable HTTP, SSE, OAuth, addresses that may not be reached, and their death."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from agent_runner.clients.mcp.definition import McpServerError
from agent_runner.clients.mcp.options import OAuthClient
from agent_runner.clients.mcp.servers import McpServers
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.unit.mcp.world import HERE, START_S, http, running, text_of


@asynccontextmanager
async def served(program: str, *args: str, port: int = 0) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """The port of a server that listens."""
    port = port or free_port()
    line = (sys.executable, str(HERE / program), *args, str(port))
    process = await asyncio.create_subprocess_exec(*line, stderr=asyncio.subprocess.DEVNULL, env={})
    try:
        await asyncio.to_thread(eventually, lambda: _listens(port), within_s=START_S, what=f"{program} listens")
        yield port, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("kind", "path", "transport"), [("http", "mcp", "streamable_http"), ("sse", "sse", "sse")])
async def test_a_server_over_http(kind: str, path: str, transport: str) -> None:
    """Its tools, its results, and its failures are those of a program's."""
    async with served("result_server.py", kind) as (port, _):
        server = http("far", f"http://127.0.0.1:{port}/{path}", transport)
        async with running(None, server) as (servers, tools):
            assert "text" in {one.shown for one in tools}
            assert text_of(await servers.call("far", "text", {"say": "hello"})) == "hello"
            assert (await servers.call("far", "failing", {})).isError
            assert text_of(await servers.call("far", "sound", {})).endswith("16 bytes: it is not kept]")


@pytest.mark.parametrize(("kind", "path", "transport"), [("http", "mcp", "streamable_http"), ("sse", "sse", "sse")])
async def test_a_call_of_a_run_that_is_cancelled(kind: str, path: str, transport: str) -> None:
    """A server that outlives the run learns that nobody waits, and stops the tool."""
    async with (
        served("result_server.py", kind) as (port, _),
        running(None, http("far", f"http://127.0.0.1:{port}/{path}", transport)) as (servers, _),
    ):
        call = asyncio.create_task(servers.call("far", "sleep", {"seconds": 600}))
        await _until_it_says(servers, "begun")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await _until_it_says(servers, "given up")


async def _until_it_says(servers: McpServers, fate: str) -> None:
    async with asyncio.timeout(START_S):
        while text_of(await servers.call("far", "fates", {})) != fate:
            await asyncio.sleep(0.02)


async def test_a_server_that_is_gone_in_a_call() -> None:
    """The call fails within its time, and says which server it was."""
    async with served("result_server.py", "http") as (port, process):
        server = http("far", f"http://127.0.0.1:{port}/mcp", call_timeout_s=10.0)
        async with running(None, server) as (servers, _):
            call = asyncio.create_task(servers.call("far", "sleep", {"seconds": 600}))
            await _until_it_says(servers, "begun")
            process.kill()
            result = await asyncio.wait_for(call, 60)
            assert result.isError
            assert "MCP server 'far'" in text_of(result)
            assert (await servers.call("far", "text", {"say": "there?"})).isError


@pytest.mark.parametrize(("kind", "path", "transport"), [("http", "mcp", "streamable_http"), ("sse", "sse", "sse")])
async def test_a_server_that_is_restarted(kind: str, path: str, transport: str) -> None:
    """A call while it is away fails. The first one after it has come back is answered, and so are two at once."""
    port = free_port()
    server = http("far", f"http://127.0.0.1:{port}/{path}", transport)
    async with AsyncExitStack() as lives:
        (_, first) = await lives.enter_async_context(served("result_server.py", kind, port=port))
        async with running(None, server) as (servers, _):
            assert text_of(await servers.call("far", "text", {"say": "one"})) == "one"
            first.kill()
            await first.wait()
            away = await servers.call("far", "text", {"say": "two"})
            assert away.isError
            assert "MCP server 'far': " in text_of(away)
            await lives.enter_async_context(served("result_server.py", kind, port=port))
            both = await asyncio.gather(*(servers.call("far", "text", {"say": say}) for say in ("three", "four")))
            assert [text_of(one) for one in both] == ["three", "four"]


async def test_a_server_that_is_restarted_between_two_calls() -> None:
    """It does not know the session, has done nothing of the call, and gets it again: the agent sees nothing of it."""
    port = free_port()
    async with AsyncExitStack() as lives:
        (_, first) = await lives.enter_async_context(served("result_server.py", "http", port=port))
        async with running(None, http("far", f"http://127.0.0.1:{port}/mcp")) as (servers, _):
            assert text_of(await servers.call("far", "text", {"say": "one"})) == "one"
            first.kill()
            await first.wait()
            await lives.enter_async_context(served("result_server.py", "http", port=port))
            both = await asyncio.gather(*(servers.call("far", "text", {"say": say}) for say in ("two", "three")))
            assert [text_of(one) for one in both] == ["two", "three"]


async def test_after_the_end_of_a_run_no_session_is_opened_again() -> None:
    """A call that comes too late is an error."""
    async with served("result_server.py", "http") as (port, _):
        async with running(None, http("far", f"http://127.0.0.1:{port}/mcp")) as (servers, _):
            pass
        assert (await servers.call("far", "text", {"say": "late"})).isError


async def test_nobody_listens() -> None:
    """The error names the cause, and another try may help."""
    with pytest.raises(McpServerError, match="connection") as failed:
        async with running(None, http("far", f"http://127.0.0.1:{free_port()}/mcp")):
            pass
    assert failed.value.__cause__ is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]"])
async def test_addresses_that_agents_may_not_reach(host: str) -> None:
    """Where the setting does not allow them, no connection is tried, whatever name leads there."""
    with pytest.raises(McpServerError, match="address of this machine or of a private network"):
        async with running(None, http("near", f"http://{host}:1/mcp", start_timeout_s=20.0), private=False):
            pass


async def test_client_credentials() -> None:
    """They are sent to the issuer alone; the access token opens the server, and no result shows it."""
    async with served("guarded_server.py") as (port, _):
        url, issuer = f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{port}"
        oauth = OAuthClient(client_id="agent", client_secret="open-sesame-42", issuer=issuer)
        async with running(None, http("guarded", url, oauth=oauth)) as (servers, _):
            assert text_of(await servers.call("guarded", "who", {})) == "somebody with ********"
        wrong = OAuthClient(client_id="agent", client_secret="open-barley-42", issuer=issuer)
        with pytest.raises(McpServerError):
            async with running(None, http("guarded", url, oauth=wrong)):
                pass
        with pytest.raises(McpServerError, match="401"):
            async with running(None, http("guarded", url)):
                pass


async def test_headers_and_a_query_reach_the_server(tmp_path: Path) -> None:
    """A static token in a header is enough for servers without OAuth."""
    async with served("guarded_server.py") as (port, _):
        headers = {"Authorization": "Bearer token-of-the-agent-77"}
        async with running(None, http("guarded", f"http://127.0.0.1:{port}/mcp", headers=headers)) as (servers, _):
            assert not (await servers.call("guarded", "who", {})).isError
