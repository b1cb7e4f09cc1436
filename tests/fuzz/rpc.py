"""gRPC fuzz: every method of every service, with odd, damaged and unexpected requests, and callers that leave."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2, query_pb2_grpc
from tests.fuzz.calls import (
    ENDED_BY_US,
    NEVER,
    OWN_FAILURE,
    Metadata,
    Method,
    Outcome,
    called,
    methods_of,
    odd_metadata,
    readable,
)
from tests.fuzz.lawful import lawful
from tests.fuzz.messages import Known, Messages, damaged
from tests.fuzz.things import AUTHORIZED, made
from tests.integration.stack import KEY, Stack

AT_ONCE = 12
FRESH_AFTER = 600
"""After so many calls the things that exist have been deleted and ended: new ones are made."""
MOST_REQUESTS = 4
LAWFUL = 0.6
"""So many keep the contract's rules; the others end at the first of these that they break."""
SHOWN_BYTES = 400


@dataclass(slots=True)
class GrpcReport:
    """`failures`: one line each, enough to send the same again."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(sort of call, code) -> how many."""
    methods: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    method: Method
    sort: str
    requests: list[bytes]
    metadata: Metadata
    cancel_after: int = -1


async def fuzz_grpc(stack: Stack, *, calls: int, seed: int) -> GrpcReport:
    """Sends `calls` calls to the stack's server, and looks afterwards whether it is what it was."""
    report = GrpcReport()
    numbers = random.Random(seed)
    before = stack.server.child().pid
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{stack.grpc_port}", options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        methods = await methods_of(channel)
        left = calls
        while left > 0:
            shots = _shots(methods, numbers, await made(stack, channel), min(left, FRESH_AFTER))
            await asyncio.gather(*(_fire(channel, shots, report) for _ in range(AT_ONCE)))
            left -= FRESH_AFTER
        report.failures += [fault async for fault in _aftermath(stack, channel, before)]
    return report


def _shots(methods: list[Method], numbers: random.Random, known: Known, count: int) -> Iterator[Shot]:
    messages = Messages(numbers, known)
    order = methods[:]
    for number in range(count):
        if number % len(order) == 0:
            numbers.shuffle(order)
        method = order[number % len(order)]
        several = numbers.randrange(1, MOST_REQUESTS) if method.described.client_streaming else 1
        made_up = [messages.message(method.input) for _ in range(several)]
        if numbers.random() < LAWFUL:
            made_up = [lawful(message, numbers) for message in made_up]
        requests = [message.SerializeToString() for message in made_up]
        match numbers.randrange(10):
            case 0 | 1 | 2:
                broken = [damaged(content, numbers) for content in requests]
                yield Shot(method=method, sort="damaged", requests=broken, metadata=AUTHORIZED)
            case 3:
                odd = tuple(odd_metadata(KEY, numbers))
                yield Shot(method=method, sort="metadata", requests=requests, metadata=odd)
            case 4:
                turns = numbers.choice((0, 1, 5, 20, 60))
                yield Shot(method=method, sort="cancelled", requests=requests, metadata=AUTHORIZED, cancel_after=turns)
            case _:
                yield Shot(method=method, sort="odd", requests=requests, metadata=AUTHORIZED)


async def _fire(channel: grpc.aio.Channel, shots: Iterator[Shot], report: GrpcReport) -> None:
    for shot in shots:
        outcome = await called(
            channel,
            shot.method,
            shot.requests,
            shot.metadata,
            cancel_after=shot.cancel_after,
            to_its_end=_unread(shot),
        )
        report.calls[shot.sort, outcome.code.name] += 1
        report.methods[shot.method.path] += 1
        if why := _wrong(shot, outcome):
            sent = " ".join(base64.b64encode(content).decode()[:SHOWN_BYTES] for content in shot.requests)
            report.failures.append(
                f"{shot.method.path} ({shot.sort}): {why}: {outcome.code.name} {outcome.details[:300]!r}; sent {sent}"
            )


def _unread(shot: Shot) -> bool:
    """Whether its bytes are no message: the server must say so."""
    return shot.sort == "damaged" and not readable(shot.requests[0], shot.method.input)


def _wrong(shot: Shot, outcome: Outcome) -> str:
    """What this answer breaks; empty when it is a good one."""
    if outcome.code in NEVER:
        return "a code that no request may cause"
    if outcome.code is grpc.StatusCode.UNAVAILABLE:
        return "the server is away"
    if outcome.code in ENDED_BY_US and not shot.method.streams and shot.cancel_after < 0:
        return "no answer"
    if _unread(shot) and outcome.code is not grpc.StatusCode.INVALID_ARGUMENT and outcome.details != OWN_FAILURE:
        return "bytes that are no message must be INVALID_ARGUMENT"
    return ""


async def _aftermath(stack: Stack, channel: grpc.aio.Channel, before: int) -> AsyncIterator[str]:
    """What the calls must not have done to the server."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    status = (await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
    if status != health_pb2.HealthCheckResponse.SERVING:
        yield f"health is {status}"
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    try:
        await query.list(io_pb2.ListAgentExecutionsRequest(page_size=500), metadata=AUTHORIZED, timeout=30)
    except grpc.aio.AioRpcError as error:
        yield f"the list of executions afterwards: {error.code()} {error.details()}"
    if (after := stack.server.child().pid) != before:
        yield f"the server process is another one: {before}, then {after}"
    for fault in left_behind(stack):
        yield fault


def left_behind(stack: Stack) -> Iterator[str]:
    """Everything that is stored can still be shown, and nothing unexpected was logged."""
    for path in ("executions", "agents", "agent-instances", "sessions", "skills", "environments", "workers", "keys"):
        yield from _unreadable(stack, path)
    yield from tracebacks(stack)


def _unreadable(stack: Stack, path: str) -> Iterator[str]:
    token = ""
    while True:
        answer = stack.http.get(f"/v1/{path}", params={"page_size": "100", "page_token": token} if token else {})
        if answer.status_code != 200:
            yield f"GET /v1/{path} afterwards: {answer.status_code} {answer.text[:300]}"
            return
        token = answer.json().get("next_page_token", "")
        if not token:
            return


def tracebacks(stack: Stack) -> Iterator[str]:
    """The last lines of each kind of traceback in the server's log."""
    seen: Counter[str] = Counter()
    blocks = stack.server.output().split("Traceback (most recent call last):")
    for block in blocks[1:]:
        lines = [line for line in block.splitlines() if line.strip()]
        end = next((n for n, line in enumerate(lines) if not line.startswith((" ", "\t"))), len(lines) - 1)
        seen["\n    ".join(lines[max(0, end - 4) : end + 1])] += 1
    for text, times in seen.most_common():
        yield f"logged {times} times:\n    {text}"
