"""What a run needs to know of an agent's MCP servers, with the values of its environment put in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent_runner.ai.stigmer.agentic.agent.v1.spec_pb2 import McpServerDefinition
from agent_runner.clients.mcp.options import OAuthClient, ToolServerOptions
from agent_runner.status.failures import Code

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
DOCKER = (
    "its docker form is not available: a container would be started beside the sandbox, by whoever may use the"
    " worker's Docker. Give its program as `stdio`, which runs in the sandbox, or run it yourself and name it as `http`"
)


class McpServerError(Exception):
    """A server cannot be used by the run; `server` names it, the text says why. Reported with `code`."""

    def __init__(self, server: str, text: str, *, code: Code = Code.MCP_SERVER) -> None:
        super().__init__(text)
        self.server = server
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server that is started in the sandbox."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    folder: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server that runs elsewhere."""

    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    transport: str
    oauth: OAuthClient | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`enabled`: the names of the tools that the agent may use; empty for all. Never printed: it holds secrets."""

    name: str
    at: Program | Address
    enabled: tuple[str, ...]
    start_timeout_s: float
    call_timeout_s: float

    def __repr__(self) -> str:
        return f"Server({self.name!r})"


def server_of(
    definition: McpServerDefinition,
    env: Mapping[str, str],
    options: ToolServerOptions,
    *,
    start_timeout_s: float,
    call_timeout_s: float,
) -> Server:
    """`env`: the run's variables, for the placeholders. The timeouts are the settings'. Raises McpServerError."""
    name, values = definition.name, _Values(definition.name, env)
    at: Program | Address
    match definition.WhichOneof("server_type"):
        case "stdio":
            stdio = definition.stdio
            argv = (stdio.command, *stdio.args)
            at = Program(argv=argv, env=values.all(stdio.env_placeholders), folder=stdio.working_dir)
        case "http":
            http = definition.http
            call_timeout_s = http.timeout_seconds if http.timeout_seconds > 0 else call_timeout_s
            at = Address(
                url=http.url,
                headers=values.all(http.headers),
                query=values.all(http.query_params),
                transport=options.transport,
                oauth=values.oauth(options.oauth),
            )
        case "docker":
            raise McpServerError(name, DOCKER)
        case _:
            raise McpServerError(name, "its definition says neither `stdio` nor `http`, so it cannot be reached")
    return Server(
        name=name,
        at=at,
        enabled=tuple(definition.enabled_tools),
        start_timeout_s=options.start_timeout_s or start_timeout_s,
        call_timeout_s=options.call_timeout_s or call_timeout_s,
    )


class _Values:
    def __init__(self, server: str, env: Mapping[str, str]) -> None:
        self._server, self._env = server, env

    def all(self, given: Mapping[str, str]) -> dict[str, str]:
        return {name: self._filled(value) for name, value in given.items()}

    def oauth(self, given: OAuthClient | None) -> OAuthClient | None:
        if given is None:
            return None
        client_id, secret = self._filled(given.client_id), self._filled(given.client_secret)
        return replace(given, client_id=client_id, client_secret=secret, issuer=self._filled(given.issuer))

    def _filled(self, text: str) -> str:
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, found: re.Match[str]) -> str:
        if found[1] not in self._env:
            text = f"MCP server '{self._server}' needs the variable {found[1]}, which no layer of the environment has"
            raise McpServerError(self._server, text, code=Code.ENVIRONMENT)
        return self._env[found[1]]
