"""A case's scene: its stack, the executions in their roles with a witness each, the strike, and the judgement.

A case calls, in this order: `worker`, `send` or `act`, `in_flight`, `strike` (the fault comes right after it),
`evidence` (the fault really happened), and what else it demands. Afterwards `judge` holds every role's end against
the catalogue: code, bounds, texts, subscribers, and that nothing of before the strike was lost.
"""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.faults.catalogue import BROKERS, RABBITMQ_URL, Catalogue, End, Row, seconds, told
from tests.faults.fault_stack import FaultStack
from tests.faults.witness import Seen, Witness
from tests.integration.stack import TERMINAL, Json, Process
from tests.support.waiting import eventually

LATE_S = 3.0
"""How much longer than the bound a case waits for an end, to say how late it was."""
CLOSE_S = 2.0
"""The other subscribers end this soon after the first: they look every second where a wake-up was lost."""
FORKED = {"AGENT_RUNNER_CONCURRENCY": "2"}
_tokens = itertools.count(1)


class Vacuous(AssertionError):
    """The fault did not happen: the row proves nothing."""


@dataclass
class Role:
    """One execution of the case."""

    id: str
    witness: Witness
    struck_at: float = 0.0
    before: Json | None = None
    rows_before: list[Seen] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came out. `seconds` and `bound` are those of the first role."""

    got: str
    seconds: float
    bound: float
    problems: tuple[str, ...]
    detail: str


class Scene:
    """`stack` runs Redis and a server; `pool` is what `worker` starts."""

    def __init__(self, row: Row, pool: str, catalogue: Catalogue, stack: FaultStack) -> None:
        self.row, self.pool, self.stack = row, pool, stack
        self._catalogue = catalogue
        self.roles: dict[str, Role] = {}
        self.facts: dict[str, str] = {}
        """What the catalogue's texts may name in braces; the ids of the roles are added."""
        self.notes: list[str] = []
        self.afterwards = ExitStack()
        """What the judgement still needs; closed when every process of the case is gone."""
        self._at_the_end: list[Callable[[Scene], None]] = []
        self._evidence: list[tuple[bool, str]] = []
        self._problems: list[str] = []
        self.token = f"{os.getpid() % 1000:03}{next(_tokens) % 1000:03}"
        """Digits that tell this case's tool processes from all others."""

    @property
    def broker(self) -> str:
        """What carries the messages: one of the catalogue's `BROKERS`."""
        return BROKERS[1] if self.stack.broker else BROKERS[0]

    # -- what a case starts

    def worker(self, **extra: str) -> Process:
        """A worker of this case's pool that the server knows; in prefork of two children unless told otherwise."""
        slots = {} if self.pool == "async" or "AGENT_RUNNER_CONCURRENCY" in self.row.settings else FORKED
        return self.stack.start_worker(**{"AGENT_RUNNER_POOL": self.pool, **slots, **extra})

    def send(self, message: str, role: str = "run", **given: Any) -> str:
        """Create an execution and connect its witness: SSE, watch and subscribe all have their first event."""
        return self._watched(role, {"message": message, **given})

    def act(self, *actions: Json, role: str = "run", **given: Any) -> str:
        """The same for the graph `actor`, which does these actions one after the other."""
        wanted = {"graph": "actor", "input": {"actions": list(actions)}, **given}
        return self._watched(role, wanted)

    def _watched(self, role: str, body: Json) -> str:
        answer = self.stack.http.post("/v1/executions", json=body)
        assert answer.status_code == 201, f"create: {answer.status_code} {answer.text[:500]}"
        return self.watch(str(answer.json()["metadata"]["id"]), role)

    def watch(self, id: str, role: str = "run") -> str:
        """Give an execution that the case created by itself a role and a witness."""
        created_at = time.monotonic()
        witness = Witness(
            id, http_port=self.stack.http_port, grpc_port=self.stack.grpc_port, reconnects=self.row.reconnects
        )
        self.roles[role] = Role(id=id, witness=witness.start(), struck_at=created_at)
        self.facts[role] = id
        return id

    # -- the state that the fault meets

    def in_flight(self, role: str = "run", text: str = "") -> Json:
        """Wait until it runs (and has said `text`, or a call of it shows it): what the fault is to hit."""
        id = self.roles[role].id
        self.stack.wait_for(id, "EXECUTION_IN_PROGRESS", within_s=15)
        if text:
            eventually(lambda: text in self._said(id), within_s=15, what=f"{role} to say {text!r}")
        return self.stack.get(id)

    def _said(self, id: str) -> str:
        """What the run itself has brought forth: no message of the user's, no plan."""
        status = self.stack.get(id)["status"]
        own = [message for message in status["messages"] if message["type"] != "MESSAGE_HUMAN"]
        return json.dumps([own, status.get("tool_calls")])

    def claimed_at(self, role: str = "run") -> float:
        """When SSE brought the row that says IN_PROGRESS (monotonic): the start of start-to-close."""

        def row() -> Seen | None:
            return self.roles[role].witness.row_at(lambda r: r.payload.get("phase") == "EXECUTION_IN_PROGRESS")

        return eventually(row, within_s=15, what=f"{role} to be claimed").arrived

    def sleep_command(self, at_least_s: int = 60) -> str:
        """`sleep N` with an N that only this case uses; `tools` finds it."""
        return f"sleep {at_least_s}.{self.token}"

    def tools(self) -> list[psutil.Process]:
        """The processes of this case's `sleep_command`."""
        return [
            p
            for p in psutil.process_iter(["cmdline"])
            if (p.info["cmdline"] or [""])[0] == "sleep" and p.info["cmdline"][-1].endswith(f".{self.token}")
        ]

    # -- the fault

    def strike(self, *roles: str, at: float | None = None) -> float:
        """The fault comes now (or was at `at`): remember what every role's conversation is. Gives the instant."""
        for name in roles or tuple(self.roles):
            role = self.roles[name]
            role.before = self.stack.get(role.id)["status"]
            role.rows_before = list(role.witness.sse.rows)
            phase = role.before["phase"]
            if phase in TERMINAL:
                raise Vacuous(f"{name} had ended ({phase}) before the fault")
        instant = time.monotonic() if at is None else at
        for name in roles or tuple(self.roles):
            self.roles[name].struck_at = instant
        return instant

    def evidence(self, happened: object, what: str) -> None:
        """`what` proves that the fault happened. A case without any, or with one that is false, proves nothing."""
        self._evidence.append((bool(happened), what))

    # -- what must follow

    def demand(self, holds: object, what: str) -> None:
        """Something besides the ends; the case goes on."""
        if not holds:
            self._problems.append(what)

    def at_the_end(self, check: "Callable[[Scene], None]") -> None:
        """Called once, when everything else has been judged: what ends the workers, for one."""
        if check not in self._at_the_end:
            self._at_the_end.append(check)

    def note(self, text: str) -> None:
        """For the row's detail."""
        self.notes.append(text)

    def bound(self, formula: str) -> float:
        return seconds(formula, self.stack.environment(self.row.settings), slack_s=self._catalogue.slack_s)

    def end(self, role: str = "run") -> Json:
        """Its status when it has ended, at the latest LATE_S after its bound."""
        found, expected = self.roles[role], self._expected(role)
        left_s = found.struck_at + self._bound_of(expected) + LATE_S - time.monotonic()
        found.witness.sse.done.wait(max(left_s, 0.1))
        status: Json = self.stack.get(found.id)["status"]
        return status

    def next_works(self, message: str = "$ echo again", *, within_s: float = 10.0, **given: Any) -> None:
        """An execution that is sent now completes."""
        try:
            id = self.stack.create(message, **given)["metadata"]["id"]
            status = self.stack.wait_for(id, within_s=within_s)["status"]
            self.demand(status["phase"] == "EXECUTION_COMPLETED", f"the next execution: {_got(status)}")
        except AssertionError as error:
            self.demand(False, f"the next execution: {error}")

    def gone_within(self, seconds_: float, since: float, what: str = "the tool's processes") -> None:
        """No tool process of this case is left `seconds_` after `since`."""
        try:
            eventually(lambda: not self.tools(), within_s=max(since + seconds_ - time.monotonic(), 0.05))
        except AssertionError:
            self.demand(False, f"{what} were still there after {seconds_:g} s: {self.tools()}")

    # -- the judgement

    def judge(self) -> Judgement:
        """Every role against the catalogue. Call it once, at the end."""
        problems = [f"vacuous: {what}: it did not happen" for happened, what in self._evidence if not happened]
        if not self._evidence:
            problems.append("vacuous: nothing proves that the fault happened")
        got, took, allowed, details = {}, 0.0, 0.0, []
        for position, (name, expected) in enumerate(self.row.ends.items()):
            if name not in self.roles:
                problems.append(f"the case has no execution in the role {name}")
                continue
            status = self.end(name)
            got[name] = _got(status)
            role = self.roles[name]
            arrived = role.witness.sse.ended_at
            lasted = (arrived or time.monotonic()) - role.struck_at
            bound = self._bound_of(expected)
            if position == 0:
                took, allowed = lasted, bound
            else:
                details.append(f"{name} after {lasted:.2f} s of {bound:.2f}")
            problems += [f"{name}: {text}" for text in self._wrong(expected, role, status, lasted, bound)]
        for check in self._at_the_end:
            check(self)
        return Judgement(
            got=told(got),
            seconds=round(took, 3),
            bound=round(allowed, 3),
            problems=(*problems, *self._problems),
            detail="; ".join([*details, *self.notes]),
        )

    def _wrong(self, expected: End, role: Role, status: Json, lasted: float, bound: float) -> Iterator[str]:
        error = str(status.get("error", ""))
        if _got(status) != expected.code:
            yield f"expected {expected.code}, got {_got(status)}: {error[:300]}"
        if lasted > bound:
            yield f"it took {lasted:.2f} s; the bound is {bound:.2f} s ({expected.within})"
        if expected.not_before and lasted < (least := self.bound(expected.not_before)):
            yield f"it ended after {lasted:.2f} s, before {least:.2f} s ({expected.not_before})"
        phrase = self._catalogue.phrases.get(expected.code, "")
        for text in filter(None, [phrase, *(said.format_map(self.facts) for said in expected.says)]):
            if text not in error:
                yield f"the error does not say {text!r}: {error[:600]!r}"
        yield from _told_wrongly(status, expected.code)
        if not role.witness.wait(CLOSE_S):
            yield f"not every subscriber was told within {CLOSE_S:g} s of the first"
        yield from role.witness.problems()
        yield from self._lost(role, status)

    def _lost(self, role: Role, status: Json) -> Iterator[str]:
        """What was there before the fault is there now (L8), and all readers agree on the log (L6, L7)."""
        with httpx.Client(base_url=str(self.stack.http.base_url), headers=self.stack.http.headers, timeout=10) as http:
            log = [
                (seq, data["kind"], data["payload"]) for seq, kind, data in _events(http, role.id) if kind == "update"
            ]
        seen = [(row.seq, row.kind, row.payload) for row in role.witness.sse.rows]
        before = [(row.seq, row.kind, row.payload) for row in role.rows_before]
        if log[: len(before)] != before:
            yield "the log before the fault is not a prefix of the log"
        if not _agree(log, seen):
            yield f"SSE was sent {len(seen)} rows, the log has {len(log)}, or they differ"
        watched = [(row.seq, row.kind, row.payload) for row in role.witness.watch.rows]
        if watched and not _agree(log[-len(watched) :], watched):
            yield "watch was sent other rows than the log has"
        last = role.witness.subscribe.last or {}
        for part in ("phase", "error", "messages", "tool_calls"):
            if last.get("status", {}).get(part) != status.get(part):
                yield f"subscribe's last state has other {part} than GET"
        if role.before:
            yield from _missing(role.before, status)

    def _expected(self, role: str) -> End:
        return self.row.ends[role]

    def _bound_of(self, expected: End) -> float:
        return self.bound(expected.within or "schedule_to_close_timeout_s + sweep_interval_s + slack_s")


def _agree(log: list[tuple[int, str, Json]], seen: list[tuple[int, str, Json]]) -> bool:
    """What was read live is what the log has. A row that an edit has purged since held text then that is gone now."""
    return len(log) == len(seen) and all(
        (now[:2] == then[:2] if now[2].get("purged") else now == then) for now, then in zip(log, seen, strict=True)
    )


def _events(http: httpx.Client, id: str) -> list[tuple[int, str, Json]]:
    """The whole log of an ended execution, read anew."""
    frames: list[tuple[int, str, Json]] = []
    frame: dict[str, str] = {}
    answer = http.get(f"/v1/executions/{id}/events", headers={"Last-Event-ID": "0"})
    for line in answer.text.split("\n"):
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            frame[name] = value
        elif frame:
            frames.append((int(frame.get("id", -1)), frame["event"], json.loads(frame["data"])))
            frame = {}
    return frames


def _got(status: Json) -> str:
    """E101; COMPLETED and CANCELLED by their phase; what else it is in by its phase too."""
    phase = str(status["phase"]).removeprefix("EXECUTION_")
    if phase != "FAILED":
        return phase
    return str(status["messages"][-1].get("metadata", {}).get("error_code", "FAILED")) if status["messages"] else phase


def _told_wrongly(status: Json, expected: str) -> Iterator[str]:
    """A failure in data: the error's last words, the SYSTEM message, completed_at."""
    if status["phase"] not in TERMINAL:
        return
    if not status.get("completed_at"):
        yield "completed_at is not set"
    if expected == "COMPLETED":
        return
    code = "E401" if expected == "CANCELLED" else expected
    last = status["messages"][-1]
    if not (last["type"] == "MESSAGE_SYSTEM" and last.get("metadata", {}).get("error_code") == code):
        yield f"the last message is not the SYSTEM message of {code}"
    elif not last["metadata"].get("next_step") or not last["metadata"].get("category"):
        yield "the SYSTEM message has no next step or category"
    elif not str(status.get("error", "")).endswith(f" [{code} {last['metadata']['category']}]"):
        yield f"the error does not end in its code: {str(status.get('error'))[-60:]!r}"


def _missing(before: Json, after: Json) -> Iterator[str]:
    messages = {m["id"]: m for m in after.get("messages", []) if m.get("id")} or None
    for number, message in enumerate(before.get("messages", [])):
        kept = messages.get(message["id"]) if messages and message.get("id") else _at(after["messages"], number)
        if kept is None or not str(kept.get("content", "")).startswith(str(message.get("content", ""))):
            yield f"message {number} of before the fault is gone or changed: {str(message.get('content'))[:80]!r}"
    calls = {c["id"]: c for c in after.get("tool_calls", [])}
    for call in before.get("tool_calls", []):
        kept = calls.get(call["id"])
        if kept is None or (call.get("result") and kept.get("result") != call["result"]):
            yield f"tool call {call['name']} of before the fault is gone or changed"


def _at(items: list[Json], number: int) -> Json | None:
    return items[number] if number < len(items) else None


@contextmanager
def opened(row: Row, pool: str, broker: str, catalogue: Catalogue, folder: Path) -> Iterator[Scene]:
    """The scene with Redis and a server running; everything of it is gone afterwards."""
    url = os.environ[RABBITMQ_URL] if broker == "rabbitmq" else ""
    stack = FaultStack.open(folder, url, **{**catalogue.settings, **row.settings})
    scene = Scene(row, pool, catalogue, stack)
    with scene.afterwards, stack:
        try:
            yield scene
        finally:
            for role in scene.roles.values():
                role.witness.stop()
