"""Who answers with a token: found by it, and may do nothing but look at its question and answer that.

A token is 256 random bits. It is shown once, to whoever asked for it; the store has its digest. It stands in the
address, as a link in a mail needs it, or in `Authorization`, where no proxy writes it down.
"""

import hashlib
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from agent_runner.app.server.access.api_keys import SCHEME, Keys
from agent_runner.app.server.access.principal import DEFAULT_ORG, Principal, acting_as
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.api_keys import Scope
from agent_runner.status.store.store import Store

PATH, PARAMETER, PREFIX = "/v1/answer", "token", "ant_"
UNKNOWN = "ANSWER_TOKEN_UNKNOWN"
ANOTHER = "Ask for another one, with a key: POST /v1/executions/{id}/answer-token."


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """`text` is shown once. The store gets the digest."""

    text: str
    digest: str

    @property
    def url(self) -> str:
        return f"{PATH}?{urlencode({PARAMETER: self.text})}"


def new_token() -> NewToken:
    text = PREFIX + secrets.token_urlsafe(32)
    return NewToken(text=text, digest=digest_of(text))


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def take_answer_token(authorization: str | None, query: bytes) -> tuple[str, bytes]:
    """(the token, the query without it). Whatever shows the address afterwards does not show the token."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    named = [value for name, value in pairs if name == PARAMETER]
    scheme, _, rest = (authorization or "").partition(" ")
    token = named[0] if named else rest.strip() if scheme.lower() == SCHEME else ""
    return token, urlencode([pair for pair in pairs if pair[0] != PARAMETER]).encode() if named else query


async def answerer(store: Store, keys: Keys, token: str) -> Principal:
    """Who shows this token, however it stands. It ends with the key that asked for it. Raises UNAUTHENTICATED."""
    found = await store.answer_token(digest_of(token)) if token.startswith(PREFIX) else None
    if found is None:
        raise unknown_token()
    with acting_as(Principal(name="", scopes=frozenset(), key_id=found.made_by)):
        await keys.confirm()
    execution = found.execution
    name = f"answer token of {execution.id}"
    return Principal(name=name, scopes=frozenset({Scope.EXECUTE}), org=execution.org or DEFAULT_ORG)


def unknown_token() -> Problem:
    return Problem(
        Kind.UNAUTHENTICATED,
        f"{PATH} needs the token of a question, and there is no such one; its execution may be deleted",
        next_step=ANOTHER,
        code=UNKNOWN,
    )
