"""What the draft of an execution must be before anything is made of it."""

import json
import math

from agent_runner.app.server.access.allow_lists import check_model_scope
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.create_limits import ESCAPED, SPEC_ROOM_BYTES
from agent_runner.app.server.contract.rules import validate
from agent_runner.app.server.contract.tags import check_tags
from agent_runner.app.server.contract.texts import MAX_INDEXED, check_text, unfit_texts
from agent_runner.app.server.executions.drafts.attachments import check_weight, words_beside
from agent_runner.app.server.executions.drafts.draft import Draft, env_values
from agent_runner.app.server.executions.drafts.input_rows import input_rows
from agent_runner.app.server.executions.drafts.run_config import models_named
from agent_runner.app.server.problems import Kind, Problem, exists, failed_precondition, invalid, violated
from agent_runner.app.server.resources.sealing import check_env, check_secrets
from agent_runner.app.server.webhooks.webhook_request import check_webhook
from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.questions import AnswerError, answers_for
from agent_runner.status.timeouts import Timeouts, TimeoutsError


class DraftChecks:
    """Raises `Problem`, for the first thing that is wrong."""

    def __init__(self, ctx: ServerContext) -> None:
        self._ctx = ctx

    async def timeouts_of(self, draft: Draft) -> Timeouts:
        """Check everything, and give the execution's timeouts."""
        draft.execution.spec.SetInParent()  # the contract lets the spec be left out, but not its message
        timeouts = self.check(draft)
        if draft.webhook is not None and not draft.webhook.of_run:  # that of a run is checked by its edge
            check_webhook(self._ctx.settings, draft.webhook)
        # The server makes the id. A request with the id of an existing execution means that execution.
        if (given := draft.execution.metadata.id) and await self._ctx.store.get(given) is not None:
            raise exists("AgentExecution", given)
        await self._check_answers(draft)
        # A redrive and an answer by a token keep a model that was checked at the first execution.
        if not (draft.redriven_from or draft.answer_digest):
            check_model_scope(*models_named(draft.execution))
        return timeouts

    def check(self, draft: Draft) -> Timeouts:
        """What can be seen without the store: sizes, the contract's rules, texts, tags, variables, timeouts."""
        execution = draft.execution
        settings = self._ctx.settings
        limit = settings.max_message_bytes
        check_weight(draft.attachments, settings.max_attachment_bytes)
        rows = input_rows(draft.input, draft.attachments, spoken=draft.spoken)
        size = len(execution.spec.message.encode()) + words_beside(draft.attachments) + rows.weight
        if (given := len(json.dumps(draft.input, ensure_ascii=False))) > ESCAPED * limit + SPEC_ROOM_BYTES:
            size = max(size, given)
        if size > limit or execution.ByteSize() > limit + SPEC_ROOM_BYTES:
            what, weight = ("spec.message", size) if size > limit else ("the request", execution.ByteSize())
            raise Problem(
                Kind.TOO_LARGE,
                f"{what} has {weight} bytes; at most {limit} are accepted (AGENT_RUNNER_MAX_MESSAGE_BYTES)",
                next_step="Put large content into a file of the workspace and name it in the message.",
            )
        if violations := [*validate(execution), *unfit_texts(execution)]:
            raise violated(violations)
        for field, text in (("agent", draft.agent), ("graph", draft.graph), ("idempotency key", draft.idempotency_key)):
            check_text(field, text)
        if len(draft.idempotency_key) > MAX_INDEXED:
            raise invalid(f"idempotency key: at most {MAX_INDEXED} characters")
        check_tags(execution.metadata.tags, "metadata.tags")
        check_env({name: value.value for name, value in execution.spec.runtime_env.items()}, "spec.runtime_env")
        check_secrets(env_values(execution).values(), "spec.runtime_env")
        return self._timeouts(draft)

    async def _check_answers(self, draft: Draft) -> None:
        """Checks that the answers name open questions of the session. Does nothing while its newest execution runs.

        The run makes all other checks: until it starts, another execution may come first.
        """
        session_id = draft.execution.spec.session_id
        if not draft.answers:
            return
        if not session_id:
            raise invalid("answers: need session_id, the session that waits for them")
        asked = await self._ctx.store.last_of_session(session_id, waiting=True)
        newest = await self._ctx.store.last_of_session(session_id)
        if newest is None or newest.phase not in TERMINAL_PHASES:
            return
        found = await self._ctx.store.state(asked.id) if asked else None
        if found is None:
            raise failed_precondition(
                f"answers: session '{session_id}' has no open question",
                next_step="Send a message or `input` to begin a new turn.",
            )
        if found[1].questions:
            try:
                answers_for(list(found[1].questions.values()), "", by_id=draft.answers)
            except AnswerError as error:
                raise invalid(f"answers: {error}", next_step="Answer with the ids that are open.") from None

    def _timeouts(self, draft: Draft) -> Timeouts:
        if isinstance(draft.timeouts, Timeouts):
            return draft.timeouts
        settings = self._ctx.settings
        if wrong := [name for name, value in draft.timeouts.items() if not math.isfinite(value)]:
            raise invalid(f"timeouts.{wrong[0]}: must be a finite number of seconds")
        try:
            return settings.timeouts.overridden(dict(draft.timeouts), max_run_s=settings.max_run_s)
        except TimeoutsError as error:
            raise invalid(f"timeouts: {error}") from None
