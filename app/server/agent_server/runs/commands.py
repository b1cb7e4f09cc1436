"""The commands of the thread protocol: start a run, answer a question."""

from dataclasses import dataclass
from typing import Any

from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.runs.run_drafts import RUN
from agent_runner.app.server.agent_server.runs.run_service import RunService
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.agent_server.uuids import known_uuid, run_uuid, session_of
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.log_feed.follow import until_ended
from agent_runner.app.server.problems import Problem
from agent_runner.status.store.records import Execution

MODES = ("values", "messages-tuple", "custom")
"""What a run of this protocol reports, for the channels of whoever reads it."""
SETTLES_S = 5.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandError(Exception):
    """`code`: a word of the protocol."""

    code: str
    message: str


class Commands:
    def __init__(self, ctx: ServerContext, runs: RunService) -> None:
        self._ctx, self._runs = ctx, runs

    async def do(self, thread_id: str, method: str, params: Json) -> Json:
        """The result. Raises CommandError."""
        known_uuid(thread_id, "thread_id")
        try:
            match method:
                case "run.start":
                    return await self._start(thread_id, params)
                case "input.respond":
                    return await self._respond(thread_id, params)
                case "agent.getTree":
                    raise CommandError(code="no_such_run", message="No active run is bound to this thread.")
                case "subscription.subscribe":
                    return {"subscription_id": thread_id, "replayed_events": 0}
                case "subscription.unsubscribe" | "subscription.reconnect":
                    return {}
        except Problem as problem:
            raise CommandError(
                code="unknown_error", message=f"{problem.kind.http_status}: {problem.detail}. {problem.next_step}"
            ) from None
        raise CommandError(code="unknown_command", message=f"Unknown protocol command: {method[:80]}")

    async def _start(self, thread_id: str, params: Json) -> Json:
        if not isinstance(params.get("assistant_id"), str):
            raise CommandError(code="invalid_argument", message="run.start requires an assistant_id.")
        given: Json = {name: params[name] for name in ("input", "config", "metadata") if name in params}
        last = await self._settled(thread_id)
        if last is not None and await self._open_interrupts(last):
            given = {**given, "command": {"resume": given.pop("input", None)}}
        strategy = params.get("multitaskStrategy") or params.get("multitask_strategy")
        return await self._made(thread_id, params["assistant_id"], given | {"multitask_strategy": strategy})

    async def _respond(self, thread_id: str, params: Json) -> Json:
        one = {"interrupt_id": params.get("interrupt_id"), "response": params.get("response")}
        responses = params.get("responses") or [one]
        last = await self._settled(thread_id)
        known = await self._open_interrupts(last) if last is not None else []
        answers = {str(each.get("interrupt_id")): each.get("response") for each in responses if isinstance(each, dict)}
        if last is None or (unknown := [id for id in answers if id not in known]):
            named = unknown[0] if last is not None else next(iter(answers), "")
            raise CommandError(code="no_such_interrupt", message=f"Unknown or already-consumed interrupt: {named[:80]}")
        command: Json = {"resume": answers} | {name: params[name] for name in ("update", "goto") if name in params}
        kept = last.spec.get(RUN) or {}
        given: Json = {"command": command}
        given |= {name: params[name] for name in ("config", "metadata") if name in params}
        await self._made(thread_id, str(kept.get("assistant_id") or last.graph), given)
        return {}

    async def _made(self, thread_id: str, assistant_id: str, given: Json) -> Json:
        try:
            asked = RunCreate.model_validate(
                {
                    **given,
                    "assistant_id": assistant_id,
                    "if_not_exists": "create",
                    "stream_mode": list(MODES),
                    "stream_subgraphs": True,
                    "stream_resumable": True,
                }
            )
        except ValueError as error:
            raise CommandError(code="invalid_argument", message=str(error)) from None
        made = await self._runs.create(thread_id, asked, keeps_stream=True, protocol=True)
        return {"run_id": run_uuid(made.execution.id)}

    async def _settled(self, thread_id: str) -> Execution | None:
        """The newest run of the thread, after a short wait for its end; None without any."""
        found = await self._ctx.store.runs_of_session(session_of(thread_id), limit=1)
        if not found:
            return None
        await until_ended(self._ctx, found[0].id, SETTLES_S)
        return await self._ctx.store.get(found[0].id)

    async def _open_interrupts(self, last: Execution) -> list[str]:
        return [str(one.get("id")) for one in (await run_end(self._ctx, last)).interrupts]
