"""HTTP bodies that are no JSON, or JSON that nothing can keep: schemathesis sends well-formed ones only."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from agent_runner.app.server.agent_server.edge_paths import is_edge
from tests.fuzz.messages import damaged
from tests.fuzz.web import WebReport
from tests.integration.stack import Stack

PLACE = "the odd value"
WRITING = ("post", "put")
PROBLEM, JSON = "application/problem+json", "application/json"
ENDLESS = "/threads/{thread_id}/stream/events"
"""With the id of a thread it would never end: it gets none."""


def _contract(kind: str, spec: Any, scope: str = "organization") -> Any:
    metadata = {"name": "A name", "owner_scope": scope, "labels": {"a": "b"}, "tags": ["t"]}
    return {"api_version": "agentic.stigmer.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}


_FREE = {"a": [1, 2.5, None], "b": "c"}
_RUN = {
    "assistant_id": "agent-runner",
    "input": {"messages": [{"role": "user", "content": "$ true"}]},
    "config": {"tags": ["t"], "recursion_limit": 5, "configurable": _FREE},
    "metadata": _FREE,
    "stream_mode": ["values", "messages"],
    "interrupt_before": ["a"],
    "multitask_strategy": "enqueue",
    "on_completion": "keep",
    "after_seconds": 0.1,
}
_ENV = {"data": {"A": {"value": "1", "is_secret": True}}}
_MANY = ({"ids": ["aex-none", "aex-other"]},)
_CRON = {"cron": "*/5 * * * *", "timezone": "Europe/Berlin", "end_time": "2090-01-31T09:00:00+01:00", "max_firings": 3}
_SCHEDULE = {"name": "n", "execution": {"message": "$ true", "env": {"A": "b"}}, "overlap": "fresh", "grace_s": 1.5}
_CHAT = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "$ true"}], "metadata": _FREE}
_OPTIONS = {"model": "m", "on_disconnect": "cancel", "context": _FREE}
GOOD: Mapping[str, Sequence[Any]] = {
    "executions": (
        {"message": "$ true", "env": {"A": "b"}, "timeouts": {"heartbeat_s": 0.5}, "org": "local", "model": "m"},
        {"input": {"a": [1, 2.5, None]}, "graph": "none"},
        _contract(
            "AgentExecution",
            {"message": "m", "agent_id": "agent-runner", "runtime_env": _ENV["data"], "callback_token": "YQ=="},
            "api_resource_owner_scope_unspecified",
        ),
    ),
    "executions:cancel": _MANY,
    "executions:redrive": _MANY,
    "executions:delete": _MANY,
    "schedules": (
        {**_SCHEDULE, **_CRON, "catch_up": "all", "catch_up_limit": 5, "paused": True},
        {**_SCHEDULE, "at": ["2090-01-31T09:00:00", "2091-01-31T09:00:00Z"], "timezone": "UTC", "org": "local"},
    ),
    "preview": ({**_CRON, "count": 5},),
    "agui": (
        {
            "threadId": "t1",
            "runId": "r1",
            "messages": [{"id": "u1", "role": "user", "content": [{"type": "text", "text": "$ true"}]}],
            "state": _FREE,
            "tools": [{"name": "n", "description": "d", "parameters": _FREE}],
            "context": [{"description": "d", "value": "v"}],
            "forwardedProps": {"agent_runner": _OPTIONS},
        },
        {"threadId": "t1", "runId": "r2", "messages": [], "resume": [{"interruptId": "q", "status": "resolved"}]},
    ),
    "ai-sdk": (
        {"id": "c1", "messages": [_CHAT], "trigger": "submit-message", "agent_runner": _OPTIONS},
        {"id": "c1", "messages": [_CHAT], "answers": {"q": _FREE}},
    ),
    "answer": ({"answer": _FREE}, {"answer": "yes"}),
    "redrive": ({"env": {"A": "b"}},),
    "keys": ({"name": "k", "scopes": ["read"], "org": "o"},),
    "exits": ({"incarnation": "i", "queue": "q", "signal": 9, "exit_code": 1, "text": "t", "startup": True},),
    "failures": ({"execution_id": "aex-none", "code": "E302", "facts": {"cause": "c"}, "step": "execute"},),
    "retention": ({"days": 30, "dry_run": True},),
    "agents": (
        _contract("Agent", {"instructions": "Do what you are told.", "env_spec": _ENV, "mcp_servers": [{"name": "m"}]}),
    ),
    "environments": (_contract("Environment", _ENV),),
    "skills": (_contract("Skill", {"skill_md": "# A skill", "tag": "v1"}),),
    "sessions": (_contract("Session", {"agent_instance_id": "ain-none", "metadata": {"a": "b"}}),),
    "agent-instances": (_contract("AgentInstance", {"agent_id": "agt-none"}),),
    "assistants": ({"graph_id": "agent-runner", "config": _RUN["config"], "metadata": _FREE, "name": "n"},),
    "versions": ({"metadata": _FREE, "limit": 5, "offset": 1},),
    "latest": ({"version": 1},),
    "threads": ({"metadata": _FREE, "if_exists": "do_nothing", "ttl": {"ttl": 1.5, "strategy": "delete"}},),
    "runs": (_RUN, {"assistant_id": "agent-runner", "command": {"resume": _FREE}, "durability": "exit"}),
    "crons": (
        {**_RUN, "schedule": "0 9 * * 1-5", "timezone": "Europe/Berlin", "enabled": False, "on_run_completed": "keep"},
    ),
    "batch": ([_RUN, _RUN],),
    "cancel": ({"status": "all"}, {"thread_id": str(UUID(int=1)), "run_ids": [str(UUID(int=2))]}),
    "commands": ({"id": 1, "method": "run.start", "params": {"assistant_id": "agent-runner", "input": _FREE}},),
    "events": ({"channels": ["values", "custom:a"], "namespaces": [["a"]], "depth": 1, "since": 0},),
    "state": ({"values": _FREE, "as_node": "n", "checkpoint": {"checkpoint_id": "c", "checkpoint_ns": ""}},),
    "checkpoint": ({"checkpoint": {"checkpoint_id": "c", "checkpoint_map": _FREE}, "subgraphs": True},),
    "history": ({"limit": 5, "before": {"configurable": {"checkpoint_id": "c"}}, "metadata": _FREE},),
    "items": ({"namespace": ["a"], "key": "k", "value": _FREE, "index": False, "ttl": 1.5},),
    "namespaces": ({"prefix": ["a"], "suffix": ["b"], "max_depth": 2, "limit": 5, "offset": 1},),
    "search": (
        {"metadata": _FREE, "status": "idle", "limit": 5, "offset": 1, "sort_by": "created_at", "select": ["metadata"]},
        {"namespace_prefix": ["a"], "filter": {"a": {"$gt": 1}}, "query": "q", "limit": 5, "ids": [str(UUID(int=1))]},
    ),
    "count": ({"metadata": _FREE, "values": _FREE, "status": "idle", "graph_id": "agent-runner"},),
    "prune": ({"thread_ids": [str(UUID(int=1))], "strategy": "delete"},),
}
"""By a word of the route: what it takes. The last of these that is in the route counts."""
VALUES = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"9" * 5000,
    b"1" + b"0" * 400,
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\xed\xa0\x80"',
    b'"\xff"',
    b"[" * 90 + b"]" * 90,
    b"[" * 5000,
    b'{"a":' * 70 + b"1" + b"}" * 70,
    b"'single'",
    b"// comment",
    b"0x10",
    b'{"a": 1, "a": 2}',
    b'"\\u00e9\\ud83d\\ude00"',
)
BODIES = (b"", b" ", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"null", b"[]", b'"text"', b"7", b"\x00", b"PK\x03\x04")
TYPES = (
    "application/json",
    "text/plain",
    "application/zip",
    "multipart/form-data; boundary=x",
    "",
    "application/json; charset=utf-16",
)


def fuzz_bodies(stack: Stack, *, requests: int, seed: int) -> WebReport:
    """So many bodies to the routes that take one. Answers must be ones that the description has."""
    numbers, report = random.Random(seed), WebReport()
    paths: dict[str, Any] = stack.http.get("/openapi.json").json()["paths"]
    routes = [(path, m, op["responses"]) for path, ops in paths.items() for m, op in ops.items() if m in WRITING]
    thread_id = stack.http.post("/threads", json={}).raise_for_status().json()["thread_id"]
    for number in range(requests):
        path, method, described = routes[number % len(routes)]
        body = _body(path, numbers)
        address = path.replace("{execution_id}", "aex-none")
        address = address.replace("{name}", "agent-runner").replace("{agent}", "agent-runner")
        if path != ENDLESS:
            address = address.replace("{thread_id}", thread_id)
        headers = {"Content-Type": numbers.choice(TYPES)}
        answer = stack.http.request(method, address, content=body, headers=headers)
        report.requests[str(answer.status_code)] += 1
        report.routes[f"{method.upper()} {path}"] += 1
        type_ = answer.headers.get("content-type", "")
        refused = answer.status_code >= 400
        well_typed = type_ == (JSON if is_edge(path) else PROBLEM) if refused else type_ != PROBLEM
        if str(answer.status_code) not in described or not well_typed:
            report.failures.append(
                f"{method.upper()} {address} with {headers} and {body[:300]!r}: "
                f"{answer.status_code} {type_} {answer.text[:300]}"
            )
    return report


def _body(path: str, numbers: random.Random) -> bytes:
    """Something odd in a good body, a damaged good one, or no JSON at all."""
    words = [word for word in GOOD if word in path.split("/")]
    good = json.dumps(numbers.choice(GOOD[words[-1]])).encode()
    match numbers.randrange(8):
        case 0:
            return numbers.choice(BODIES)
        case 1:
            return damaged(good, numbers)
        case 2:
            return numbers.choice(VALUES)
        case _:
            return _with_odd_value(json.loads(good), numbers)


def _with_odd_value(good: Any, numbers: random.Random) -> bytes:
    """One value, somewhere in there, is replaced by what a JSON library might not even write."""
    at = good
    while True:
        name = numbers.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not (isinstance(at[name], (dict, list)) and at[name]) or numbers.random() < 0.3:
            break
        at = at[name]
    at[name] = PLACE
    return json.dumps(good).encode().replace(json.dumps(PLACE).encode(), numbers.choice(VALUES))
