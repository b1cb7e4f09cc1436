"""Issues the tokens of questions, shows the question of one, and brings its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.answers.answer_access import ANOTHER, NewToken, digest_of, new_token, unknown_token
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.executions.drafts.draft import Draft, draft_of_json
from agent_runner.app.server.executions.view import GRAPH_ANNOTATION
from agent_runner.app.server.problems import Kind, Problem, failed_precondition, invalid, not_found
from agent_runner.app.server.schedules.schedule_requests import DUE_AT, FIRED_BY, SCHEDULE
from agent_runner.status.questions import AnswerError, listed, usable
from agent_runner.status.store.errors import AnswerNotTaken
from agent_runner.status.store.records import Execution
from agent_runner.status.store.store import Store
from agent_runner.status.store.turns.answer_tokens import AnswerToken, Standing

USED, EXPIRED, ANSWERED = "ANSWER_TOKEN_USED", "ANSWER_TOKEN_EXPIRED", "QUESTION_ANSWERED"
OF_A_SCHEDULE = (SCHEDULE, DUE_AT, FIRED_BY)
Question = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    token: NewToken
    question: Question
    expires_at: float


async def issued(store: Store, execution: Execution, question: Question, lasts_s: float, made_by: str = "") -> Issued:
    """A token for the open question of an execution. Raises NOT_FOUND."""
    token = new_token()
    its: dict[str, Any] = {"question_id": question["id"], "digest": token.digest, "made_by": made_by}
    if made_by:
        its["until"] = current().expires_at
    expires_at = await store.add_answer_token(execution.id, lasts_s=lasts_s, **its)
    if expires_at is None:
        raise not_found("AgentExecution", execution.id)
    return Issued(token=token, question=question, expires_at=expires_at)


class Answers:
    def __init__(self, edges: Edges, server_store: Store) -> None:
        """`server_store`: the whole store. Who shows a token may see what it is for."""
        self._edges = edges
        self._ctx = edges.ctx
        self._store = server_store

    async def issue(self, execution_id: str, question_id: str, lasts_s: float | None) -> Issued:
        """Raises NOT_FOUND, FAILED_PRECONDITION if it asks nothing, INVALID_ARGUMENT if it is not clear what."""
        execution = await self._edges.executions.get(execution_id)
        found = await self._ctx.store.state(execution_id)
        asked = list(found[1].questions.values()) if found else []
        if not execution.waiting or not asked:
            raise failed_precondition(
                f"AgentExecution '{execution_id}' waits for no answer",
                next_step="Ask for a token when `waiting_for_input` is true, and for the newest execution that asks.",
            )
        chosen = [one for one in asked if one["id"] == question_id] if question_id else asked
        if len(chosen) != 1:
            why = "names no open question" if question_id else "is needed, a token answers one question"
            raise invalid(f"question_id: {why}. {listed(asked)}")
        lasts = self._ctx.settings.answer_token_s
        lasts_s = lasts if lasts_s is None else min(lasts_s, lasts)
        return await issued(self._ctx.store, execution, chosen[0], lasts_s, made_by=current().key_id)

    async def open(self, token: str) -> AnswerToken:
        """Raises what is wrong with the token."""
        found = await self._store.answer_token(digest_of(token))
        if found is None:
            raise unknown_token()
        if found.standing is not Standing.OPEN:
            raise _not_good(found)
        return found

    async def answer(self, token: str, answer: Any) -> Execution:
        """The new execution that brings the answer. Raises what is wrong with the token or with the answer; only an
        answer that is accepted uses the token."""
        found = await self.open(token)
        try:
            usable(found.question, answer)
        except AnswerError as error:
            raise invalid(f"answer: {error}", next_step="Send what is expected; the token is still good.") from None
        draft = replace(_draft(found, answer), answer_digest=digest_of(token))
        try:
            return (await self._edges.executions.create(draft)).execution
        except AnswerNotTaken:
            await self.open(token)  # says why
            raise unknown_token() from None


def _draft(token: AnswerToken, answer: Any) -> Draft:
    """It goes on as the one that asked was asked for: labels, annotations, model, timeouts. Its secrets are gone."""
    asker = token.execution
    draft = draft_of_json({"session_id": asker.session_id, "answers": {token.question["id"]: answer}})
    execution, kept = draft.execution, asker.spec.get("metadata", {})
    for name, text in kept.get("labels", {}).items():
        if name not in OF_A_SCHEDULE:
            execution.metadata.labels[name] = text
    for name, text in kept.get("annotations", {}).items():
        if name not in OF_A_SCHEDULE:
            execution.metadata.annotations[name] = text
    execution.spec.execution_config.model_name = asker.model_name
    graph = kept.get("annotations", {}).get(GRAPH_ANNOTATION, "")
    return replace(draft, graph=graph, timeouts=asker.timeouts, kept_webhook=token.webhook)


def _not_good(token: AnswerToken) -> Problem:
    asker = token.execution.id
    by = f" by AgentExecution '{token.by}'" if token.by else ""
    match token.standing:
        case Standing.USED:
            code, detail = USED, f"the token was used{by}"
            next_step = f"Look at that execution; if '{asker}' still waits, ask for another token."
        case Standing.EXPIRED:
            code, detail, next_step = EXPIRED, f"the token for a question of AgentExecution '{asker}' expired", ANOTHER
        case _:
            code, detail = (
                ANSWERED,
                f"the question of AgentExecution '{asker}' is not open any more"
                + (f": it was answered{by}" if by else ""),
            )
            next_step = "Nothing is left to answer here; a question that is asked anew has a token of its own."
    return Problem(Kind.FAILED_PRECONDITION, detail, next_step=next_step, code=code)
