"""Tokens that answer one question once, without a key. The store knows a token's digest only.

A token belongs to an execution and to one of the questions that it ended with. It is good as long as that question is
open in the session: also after other questions of the same execution were answered, and not after its own was. An id
alone does not say that: all breakpoints have one id, and with older LangGraphs all questions of a node.

A token is taken in the transaction that stores the execution with the answer (`take_answer`), so it is used by exactly
one, or by none if that one is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Row, case, insert, literal, or_, select, update

from agent_runner.status.log.events import USER_MESSAGE
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.errors import AnswerNotTaken
from agent_runner.status.store.executions.reading import by_handle, by_id, folded, read_rows
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import to_execution
from agent_runner.status.store.schema import answer_tokens, executions
from agent_runner.status.store.verbs import Orgs, reads, writes

T, E = answer_tokens.c, executions.c
LATER = 200
"""So many executions after the one that asked are looked at. Each of them answered or tried to."""


class Standing(Enum):
    OPEN = "open"
    USED = "used"
    """It was taken by the execution `by`."""
    EXPIRED = "expired"
    ANSWERED = "answered"
    """The question is not open any more: `by` has answered it or is about to, or the session went on without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerToken:
    """`execution`: the one that asked. `made_by`: the key that asked for the token; empty: the server."""

    execution: Execution
    question: Mapping[str, Any]
    standing: Standing
    expires_at: float
    made_by: str
    by: str = ""
    webhook: tuple[bytes, str] | None = None
    """The webhook of that execution, as `NewExecution` has it."""


class AnswerTokens(Transactions):
    @writes(orgs=Orgs.EXECUTION)
    def add_answer_token(
        self,
        connection: Connection,
        id: str,
        *,
        question_id: str,
        digest: str,
        lasts_s: float,
        until: float | None = None,
        made_by: str = "",
    ) -> float | None:
        """A token for this question of the execution. The time when it expires: after `lasts_s`, and not after `until`.
        None: there is no such execution."""
        end = NOW + lasts_s
        row = connection.one(by_id(), its_id=id)
        if row is None:
            return None
        values: dict[str, Any] = {
            "digest": digest,
            "handle": row.handle,
            "question_id": question_id,
            "made_by": made_by,
            "created_at": NOW,
            "expires_at": end if until is None else case((end < until, end), else_=literal(until)),
        }
        made = insert(answer_tokens).values(**values).returning(T.expires_at)
        return float(connection.execute(made, self.params()).scalar_one())

    @reads
    def answer_token(self, connection: Connection, digest: str) -> AnswerToken | None:
        """The token with this digest, and how it stands now."""
        return token_of(connection, self.params(), digest)


def token_of(connection: Connection, params: Mapping[str, Any], digest: str) -> AnswerToken | None:
    found = select(answer_tokens, (T.expires_at <= NOW).label("expired")).where(T.digest == digest)
    row = connection.execute(found, dict(params)).one_or_none()
    asker = connection.one(by_handle(), its_handle=row.handle) if row is not None else None
    if row is None or asker is None:
        return None
    asked = folded(connection, row.handle).questions
    question = asked.get(row.question_id)
    if row.used_at is not None:
        standing, by = Standing.USED, row.answered_by
    elif row.expired:
        standing, by = Standing.EXPIRED, ""
    else:
        standing, by = _standing(connection, asker, asked, question)
    return AnswerToken(
        execution=to_execution(asker),
        question=question or {"id": row.question_id},
        standing=standing,
        expires_at=row.expires_at,
        made_by=row.made_by,
        by=by,
        webhook=(asker.webhook, asker.webhook_events) if asker.webhook is not None else None,
    )


def take_answer(connection: Connection, params: Mapping[str, Any], digest: str, *, execution_id: str) -> None:
    """The execution with this id brings the answer. The caller's transaction holds the session.

    Raises AnswerNotTaken if the token is not good any more.
    """
    token = token_of(connection, params, digest)
    if token is None or token.standing is not Standing.OPEN:
        raise AnswerNotTaken
    mine = (T.digest == digest, T.used_at.is_(None))
    taken = update(answer_tokens).where(*mine).values(used_at=NOW, answered_by=execution_id)
    if not connection.execute(taken, dict(params)).rowcount:
        raise AnswerNotTaken


def give_back_answer(connection: Connection, session_id: str, *, execution_id: str) -> None:
    """The execution that brought the answer was taken back before anybody could see it: the token is good again."""
    of_session = select(E.handle).where(E.session_id == session_id)
    mine = (T.handle.in_(of_session), T.answered_by == execution_id)
    connection.execute(update(answer_tokens).where(*mine).values(used_at=None, answered_by=""))


def _standing(
    connection: Connection, asker: Row[Any], asked: Mapping[str, Any], question: Mapping[str, Any] | None
) -> tuple[Standing, str]:
    """Whether the question of `asker` is open in its session, and who has answered it if it is not."""
    mine = (E.session_id == asker.session_id, E.handle >= asker.handle)
    waits = connection.execute(select(E.handle).where(*mine, E.waiting == 1).order_by(E.handle.desc()).limit(1))
    waiting = waits.scalar_one_or_none()
    ended = case((E.phase < min(TERMINAL_PHASES), 0), else_=1).label("ended")
    counts = or_(E.phase == int(Phase.COMPLETED), E.phase < min(TERMINAL_PHASES))
    after = select(E.handle, E.id, ended).where(*mine, E.handle > asker.handle, counts).order_by(E.handle).limit(LATER)
    for row in connection.execute(after).all():
        decided = not row.ended or waiting is None or row.handle <= waiting
        if decided and _answers(_said(connection, row.handle), asked, question):
            return Standing.ANSWERED, row.id
    if question is None or waiting is None:
        return Standing.ANSWERED, ""
    standing = asked if waiting == asker.handle else folded(connection, waiting).questions
    now = standing.get(question["id"])
    same = now is not None and all(now.get(name) == question.get(name) for name in ("value", "text", "expects"))
    return (Standing.OPEN if same else Standing.ANSWERED), ""


def _said(connection: Connection, handle: int) -> Mapping[str, Any]:
    rows = read_rows(connection, handle, 0, 1)
    said: Mapping[str, Any] = rows[0].payload if rows and rows[0].payload.get("id") == USER_MESSAGE else {}
    return said


def _answers(said: Mapping[str, Any], asked: Mapping[str, Any], question: Mapping[str, Any] | None) -> bool:
    """Whether an execution that was sent this answers the question. One that names no questions answers all."""
    beside = said.get("metadata") or {}
    resumed = ((said.get("asked") or {}).get("command") or {}).get("resume")
    named = beside.get("answers") or beside.get("input") or resumed
    names = {*asked, *(one.get("text") for one in asked.values())}
    if question is None or not isinstance(named, Mapping) or not named.keys() <= names:
        return True
    return question["id"] in named or question.get("text") in named
