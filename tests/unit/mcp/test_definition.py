"""From an agent's spec to what a run starts: placeholders, timeouts, names, and what is refused."""

from typing import Any

import pytest
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agent.v1.spec_pb2 import McpServerDefinition
from agent_runner.clients.mcp.definition import Address, McpServerError, Program, Server, server_of
from agent_runner.clients.mcp.names import shown_names
from agent_runner.clients.mcp.options import ToolServerOptions, ToolServerOptionsError, options_of
from agent_runner.status.failures import Code


def made(definition: dict[str, Any], env: dict[str, str] | None = None, options: str = "") -> Server:
    message = json_format.ParseDict({"name": "s", **definition}, McpServerDefinition())
    chosen = options_of(options).get("s", ToolServerOptions())
    return server_of(message, env or {}, chosen, start_timeout_s=30, call_timeout_s=120)


def test_a_program_gets_the_variables_that_it_names() -> None:
    """Placeholders stand for variables of the run; other text stays as it is."""
    stdio = {"command": "files", "args": ["/data"], "env_placeholders": {"KEY": "${A}", "MODE": "x-${B}-$C"}}
    server = made({"stdio": stdio, "enabled_tools": ["read"]}, {"A": "1", "B": "2", "D": "not asked for"})
    assert server.at == Program(argv=("files", "/data"), env={"KEY": "1", "MODE": "x-2-$C"})
    assert (server.enabled, server.start_timeout_s, server.call_timeout_s) == (("read",), 30, 120)
    assert "1" not in repr(server)


def test_a_variable_that_no_layer_has() -> None:
    """The run ends with the code of environments, and the text names variable and server."""
    with pytest.raises(McpServerError, match="'s' needs the variable A") as failed:
        made({"stdio": {"command": "files", "env_placeholders": {"KEY": "${A}"}}})
    assert failed.value.code is Code.ENVIRONMENT


def test_an_address_with_its_headers_and_options() -> None:
    """The contract's timeout is that of a call; the annotation says more, and wins."""
    given = {"http": {"url": "https://x.example/mcp", "headers": {"A": "Bearer ${T}"}, "timeout_seconds": 7}}
    assert made(given, {"T": "t0ken"}).call_timeout_s == 7
    options = '{"s": {"transport": "sse", "call_timeout_s": 9, "start_timeout_s": 4}}'
    server = made(given, {"T": "t0ken"}, options)
    assert isinstance(server.at, Address)
    assert (server.at.headers, server.at.transport) == ({"A": "Bearer t0ken"}, "sse")
    assert (server.call_timeout_s, server.start_timeout_s) == (9, 4)


@pytest.mark.parametrize(
    ("definition", "words"), [({"docker": {"image": "mcp/time"}}, "docker form"), ({}, "neither `stdio` nor `http`")]
)
def test_forms_that_are_refused(definition: dict[str, Any], words: str) -> None:
    """With the reason, and what to write instead."""
    with pytest.raises(McpServerError, match=words):
        made(definition)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"s": {"transport": "websocket"}}', "streamable_http, sse"),
        ('{"s": {"tries": 3}}', "unknown fields tries"),
        ('{"s": {"call_timeout_s": 0}}', "number of seconds"),
        ('{"s": {"oauth": {"client_id": "a", "client_secret": "b", "issuer": "c"}}}', "must name a variable"),
        ('{"s": {"oauth": {"client_id": "a", "client_secret": "${B}"}}}', "issuer must be a text"),
    ],
)
def test_options_that_cannot_be_used(annotation: str, words: str) -> None:
    """The text names the field and what it may be."""
    with pytest.raises(ToolServerOptionsError, match=words):
        options_of(annotation)


def test_names_for_models() -> None:
    """No two are the same, none is the agent's own, and models accept each."""
    tools = [("a", "get"), ("b", "get"), ("b", "read_file"), ("c", "x.y"), ("c", "n" * 80), ("a", "b_get")]
    tools.append(("c", "x_y"))
    names = shown_names(tools)
    assert names[:3] == ["a_get", names[1], "b_read_file"]
    assert names[5] == "b_get"
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)
