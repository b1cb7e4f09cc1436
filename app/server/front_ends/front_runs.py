"""Runs of front ends are executions, their threads and chats are sessions; this makes, finds and cancels them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService, Target
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import is_uuid, session_of, thread_uuid
from agent_runner.app.server.contract.ids import resource_prefix
from agent_runner.app.server.contract.texts import check_text
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import Draft, draft_of_json
from agent_runner.app.server.front_ends.happened import CLOSED
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.app.server.problems import Kind, Problem, invalid
from agent_runner.status.log.state import State
from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.questions import NOTHING, AnswerError, answers_for
from agent_runner.status.requests.run_request import TASKS, VALUES, RunRequest
from agent_runner.status.store.records import Execution, ResourceKind

NOTED = "front_end"
"""Where an execution keeps the names that its front end gave to the run and its messages."""
OPTIONS = frozenset({"model", "env", "timeouts", "context", "config"})
"""What a request may set besides its content, with the meaning of `POST /v1/executions`."""
ON_DISCONNECT = "on_disconnect"
MAX_ID_CHARS = 200
LOOKED_THROUGH = 50
"""So many of the newest runs of a thread are looked through for a run by its name."""
_NAMES = uuid.UUID("0b1f3c0e-6e0c-5d0a-9d51-5f6b8a4f7c11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for. `content` has `message`, `input` or `answers` as in `POST /v1/executions`."""

    run_id: str
    content: Json
    options: Mapping[str, Any] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)
    instead_of: Execution | None = None
    """Begin in the memory where this run began: what it and later ones did is not seen."""
    repeatable: bool = True
    """The same request again means the same run."""


def drafted(options: Mapping[str, Any], content: Json, key: str = "") -> Draft:
    """Raises INVALID_ARGUMENT."""
    if options.get(ON_DISCONNECT, "continue") not in ("continue", "cancel"):
        raise invalid(f"agent_runner.{ON_DISCONNECT}: must be 'continue' or 'cancel'")
    given = {name: value for name, value in options.items() if name != ON_DISCONNECT}
    if unknown := sorted(given.keys() - OPTIONS):
        raise invalid(
            f"agent_runner: unknown options {', '.join(unknown)}; known are {', '.join(sorted(OPTIONS))} and"
            f" {ON_DISCONNECT}"
        )
    return draft_of_json({**given, **content}, idempotency_key=key)


class FrontRuns:
    def __init__(self, edges: Edges) -> None:
        self._edges, self._store = edges, edges.ctx.store
        self._assistants = AssistantService(edges.ctx)
        self._threads = ThreadService(edges)

    async def start(self, agent: str, thread: str, asked: Asked) -> tuple[Execution, bool]:
        """(the execution, whether it was there before). Raises INVALID_ARGUMENT, NOT_FOUND and what a create raises."""
        target = await self._target(agent)
        held = await self._threads.create(thread_of(thread), or_existing=True)
        key = f"{NOTED}/{held.session_id}/{asked.run_id}" if asked.repeatable else ""
        draft = drafted(asked.options, asked.content, key)
        draft.execution.metadata.org = held.org
        draft.execution.spec.session_id = held.session_id
        waits = await self.waiting(thread)
        replaced = asked.instead_of
        if "answers" in asked.content and not waits.questions:
            raise invalid("answers: the thread has no open question", next_step="Send a message to begin a new turn.")
        open_ = waits if replaced is None else State.empty()
        request = _request(asked.content, open_) if target.graph else RunRequest()
        draft = replace(
            draft,
            agent=target.agent,
            graph=target.graph,
            asked=request.to_json() or None,
            thread_id=thread_uuid(held.session_id),
            noted={NOTED: {**asked.noted, "run_id": asked.run_id, "open_calls": _open_calls(waits)}},
            base_checkpoint_id=(replaced.base_checkpoint_id or "") if replaced is not None else None,
        )
        accepted = await self._edges.executions.create(draft)
        return accepted.execution, accepted.known

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises INVALID_ARGUMENT."""
        self._edges.executions.check_fields(drafted(options, {"message": "."}))

    async def find(self, thread: str, run_id: str = "") -> Execution | None:
        """The run of that name, or the newest one."""
        found = await self.newest(thread, LOOKED_THROUGH if run_id else 1)
        return next((one for one in found if not run_id or noted_of(one).get("run_id") == run_id), None)

    async def newest(self, thread: str, limit: int) -> Sequence[Execution]:
        """Runs of a thread, the newest first; none of a thread that the caller may not see."""
        session_id = session_of(thread_of(thread))
        if await self._store.thread(session_id) is None:
            return []
        return await self._store.runs_of_session(session_id, limit=limit)

    async def state(self, execution: Execution) -> State:
        found = await self._store.state(execution.id)
        return found[1] if found is not None else State.empty()

    async def waiting(self, thread: str) -> State:
        """The state of the run that waits for answers; without one, a state with no questions."""
        found = await self._store.last_of_session(session_of(thread_of(thread)), waiting=True)
        return await self.state(found) if found is not None else State.empty()

    async def cancel(self, thread: str) -> list[str]:
        """Cancels what has not ended; the ids of those executions."""
        cancelled = []
        for one in await self.newest(thread, LOOKED_THROUGH):
            if one.phase not in TERMINAL_PHASES:
                await self._edges.executions.cancel(one.id)
                cancelled.append(one.id)
        return cancelled

    async def left(self, execution_id: str) -> None:
        """The reader of a run that was to end with its reader went away."""
        found = await self._store.get(execution_id)
        if found is not None and found.phase not in TERMINAL_PHASES:
            await self._edges.executions.cancel(execution_id)

    async def _target(self, agent: str) -> Target:
        if is_uuid(agent):
            return await self._assistants.target(await self._assistants.get(agent))
        known = await self._assistants.graphs()
        if agent not in known:
            raise Problem(
                Kind.NOT_FOUND,
                f"agent {agent[:80]!r} not found: there is {', '.join(sorted(known))}",
                next_step="Name one of these in the address: an agent's slug, or a graph of langgraph.json.",
            )
        return await self._assistants.target_of_graph(agent)


def _request(content: Json, waits: State) -> RunRequest:
    """Of a graph's run: its steps and states are told, and what answers an open question is a command."""
    parts = (VALUES, TASKS)
    if not waits.questions:
        return RunRequest(parts=parts)
    said = content.get("message", content.get("input", NOTHING))
    try:
        answers = answers_for(
            list(waits.questions.values()), said if isinstance(said, str) else "", said, content.get("answers")
        )
    except AnswerError as error:
        raise invalid(str(error), next_step="Answer with the ids that are open.") from None
    return RunRequest(parts=parts, command={"resume": answers})


def _open_calls(waits: State) -> list[str]:
    """The calls that wait with the run: the next one goes on with them, and the front end knows them."""
    return [id_ for id_, call in waits.tool_calls.items() if call.get("status") not in CLOSED]


def noted_of(execution: Execution) -> Json:
    held: Json = execution.spec.get(NOTED) or {}
    return held


def thread_of(given: str) -> str:
    """The UUID of a thread that a front end named: by a UUID, by a session's id, or by a name of its own, which is the
    caller's org's own. The same name is the same thread, also on another server."""
    given = name_of(given, "the thread's id")
    if given.startswith(f"{resource_prefix(ResourceKind.SESSION)}-"):
        try:
            return thread_uuid(given)
        except ValueError:
            raise invalid(f"the thread's id: {given[:80]!r} is no session") from None
    return str(uuid.UUID(given)) if is_uuid(given) else str(uuid.uuid5(_NAMES, f"{default_org()}\n{given}"))


def name_of(given: Any, what: str) -> str:
    """Raises INVALID_ARGUMENT for what cannot be a name."""
    if not isinstance(given, str) or not given or len(given) > MAX_ID_CHARS:
        raise invalid(f"{what}: must be a text of 1 to {MAX_ID_CHARS} characters")
    check_text(what, given)
    return given
