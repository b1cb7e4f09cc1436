"""What to call when an execution begins, asks and ends, as its caller asked for it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

ANNOTATION = "agent-runner/webhook"
START, QUESTION, END = "start", "question", "end"
EVENTS = (START, QUESTION, END)
FIELDS = ("url", "events", "headers", "secret", "answer_tokens")
MOST_HEADERS, MOST_CHARS = 20, 4096
HEADER, TEXT = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", r"[ -~]*"
OURS = ("host", "connection", "transfer-encoding", "user-agent", "te", "trailer", "upgrade", "expect")
"""Headers of the call that are not the caller's to set, beside those that begin with `OUR_PREFIXES`."""
OUR_PREFIXES = ("content-", "x-agent-runner-", "proxy-")


class WebhookError(ValueError):
    """The text names the field and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """All of it is secret: an address may hold a token. `secret` signs the calls in place of the server's.
    `answer_tokens`: the call about a question brings a token that answers it. `of_run`: the call is about a run of the
    Agent Server API, in the form of that."""

    url: str
    events: tuple[str, ...] = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str = ""
    answer_tokens: bool = False
    of_run: bool = False

    def to_json(self) -> str:
        """Without the address."""
        return json.dumps(
            {
                "events": list(self.events),
                "headers": dict(self.headers),
                "secret": self.secret,
                "answer_tokens": self.answer_tokens,
                "of_run": self.of_run,
            }
        )

    @classmethod
    def from_json(cls, url: str, text: str) -> Self:
        told = json.loads(text)
        return cls(url=url, **told | {"events": tuple(told["events"])})


def checked(given: Any, where: str = "webhook") -> Webhook:
    """From an address, or an object of `FIELDS`. Raises WebhookError, which shows no value."""
    if isinstance(given, str):
        given = {"url": given}
    if not isinstance(given, Mapping):
        raise WebhookError(f"{where}: must be an address or an object with {', '.join(FIELDS)}")
    if unknown := sorted(map(str, given.keys() - set(FIELDS))):
        raise WebhookError(f"{where}: unknown fields {', '.join(unknown)}; it knows {', '.join(FIELDS)}")
    url, secret, tokens = given.get("url"), given.get("secret") or "", given.get("answer_tokens")
    if not isinstance(url, str) or not url:
        raise WebhookError(f"{where}.url: is needed, the address to call")
    if len(url) > MOST_CHARS or not re.fullmatch(r"[!-~]+", url):
        raise WebhookError(f"{where}.url: must be a plain address of at most {MOST_CHARS} characters")
    if not isinstance(secret, str) or len(secret) > MOST_CHARS or "\0" in secret:
        raise WebhookError(f"{where}.secret: must be a text of at most {MOST_CHARS} characters without NUL")
    if tokens is not None and not isinstance(tokens, bool):
        raise WebhookError(f"{where}.answer_tokens: must be true or false")
    events = events_of(given.get("events"), f"{where}.events")
    return Webhook(
        url=url,
        events=events,
        headers=_headers(given.get("headers"), f"{where}.headers"),
        secret=secret,
        answer_tokens=bool(tokens),
    )


def events_of(given: Any, where: str) -> tuple[str, ...]:
    if given is None:
        return EVENTS
    if not isinstance(given, list) or not given or any(one not in EVENTS for one in given):
        raise WebhookError(f"{where}: must be a list with some of {', '.join(EVENTS)}")
    return tuple(one for one in EVENTS if one in given)


def _headers(given: Any, where: str) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or len(given) > MOST_HEADERS:
        raise WebhookError(f"{where}: must be an object of at most {MOST_HEADERS} headers")
    for name, value in given.items():
        if not isinstance(name, str) or not re.fullmatch(HEADER, name):
            raise WebhookError(f"{where}: has a name that no header can have")
        if name.lower() in OURS or name.lower().startswith(OUR_PREFIXES):
            raise WebhookError(f"{where}.{name}: this header is the server's own")
        if not isinstance(value, str) or len(value) > MOST_CHARS or not re.fullmatch(TEXT, value):
            raise WebhookError(f"{where}.{name}: must be plain text of at most {MOST_CHARS} characters")
    return dict(given)
