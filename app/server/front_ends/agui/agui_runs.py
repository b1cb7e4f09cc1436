"""What `/v1/agui/{agent}` does with runs. This module is imported with the first request, by `agui_routes.py`."""

from urllib.parse import quote

from ag_ui.core import types as t
from fastapi import Request
from fastapi.responses import Response

from agent_runner.app.server.front_ends.agui.agui_events import AgUi
from agent_runner.app.server.front_ends.agui.agui_history import messages_of
from agent_runner.app.server.front_ends.agui.agui_input import asked_of, input_of, options_of
from agent_runner.app.server.front_ends.front_answers import FrontAnswers, address
from agent_runner.app.server.front_ends.front_paths import AGUI
from agent_runner.app.server.front_ends.front_runs import name_of, noted_of
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.records import Execution


class AgUiRuns:
    def __init__(self, answers: FrontAnswers) -> None:
        self._answers, self._runs = answers, answers.runs

    async def run(self, request: Request, agent: str, last_event_id: str) -> Response:
        with self._answers.place() as place:
            given = input_of(await self._answers.body(request))
            run_id = name_of(given.run_id, "runId")
            self._runs.check_options(options_of(given))  # also of a run that is shown again
            execution, cancels = await self._runs.find(given.thread_id, run_id), False
            if execution is None:
                asked = await asked_of(given, self._runs)
                execution, cancels = await self._answers.started(agent, given.thread_id, asked)
            dialect = self._dialect(execution, given.thread_id, run_id)
            again = f"{address(AGUI, agent, given.thread_id)}/stream?run_id={quote(run_id, safe='')}"
            return self._answers.stream(place, execution, dialect, last_event_id, again, cancels=cancels)

    async def follow(self, agent: str, thread_id: str, run_id: str, last_event_id: str) -> Response:
        with self._answers.place() as place:
            execution = await self._runs.find(thread_id, run_id)
            if execution is None:
                what = f"run {run_id[:80]!r}" if run_id else "run"
                raise Problem(
                    Kind.NOT_FOUND,
                    f"thread {thread_id[:80]!r} has no {what}",
                    next_step="POST a RunAgentInput to begin one.",
                )
            dialect = self._dialect(execution, thread_id, run_id or str(noted_of(execution).get("run_id") or ""))
            if not run_id:
                dialect.before = await messages_of(
                    self._answers.ctx, execution.session_id, execution.handle, whole=False
                )
            again = f"{address(AGUI, agent, thread_id)}/stream" + (
                f"?run_id={quote(run_id, safe='')}" if run_id else ""
            )
            return self._answers.stream(place, execution, dialect, last_event_id, again)

    def _dialect(self, execution: Execution, thread_id: str, run_id: str) -> AgUi:
        async def history() -> list[t.Message]:
            return await messages_of(self._answers.ctx, execution.session_id, execution.handle, whole=True)

        facts = {"execution_id": execution.id, "session_id": execution.session_id}
        known = frozenset(noted_of(execution).get("open_calls") or ())
        return AgUi(thread_id, run_id or execution.id, facts, history, known)
