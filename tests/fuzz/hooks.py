"""What schemathesis does besides its own checks; it loads this module (`hooks` in schemathesis.toml)."""

import atexit
import os
import re
import zlib
from typing import Any

import schemathesis

from tests.fuzz.pace import ENDLESS, Progress, Thinning

EXPLAINED = (
    "page_token",  # opaque: only what an answer gave is one
    "Last-Event-ID: ",  # the same
    "fallback_models must be a list of at most",  # names that can be printed
    "timeouts",
    "metadata.id: the body names another",
    "spec.agent_id: the session belongs to",
    "agent: ",  # lists of kinds that belong to no agent
    "Thread '",  # a state of a thread that has no graph yet
    "Cannot specify both configurable and context",
    "Invalid assistant: ",  # neither a UUID nor the name of a graph
    "webhook: ",  # a port that is none, an address of a private network
    "webhook.headers",  # names that are not the caller's to set
    "question_id: ",  # not of an open question, or needed where several are
    "Key is required",
    "namespace: ",  # labels that are joined by dots
    "Invalid filter key",
    "value: Value error, must not contain NUL",  # at any depth of a JSON value
    "filter: Value error, must not contain NUL",
    "values: Value error, must not contain NUL",
    "metadata: Value error, must not contain NUL",
    "config.metadata: Value error, must not contain NUL",
    "Unsupported operator",  # of the store's filters, in LangGraph's words
    "session: is not what session_id says",  # two parameters that name one thing
    "Invalid cron schedule",  # a language of its own, and times that never come
    "Invalid timezone",  # a name of the zones that are installed
    "session_id: with overlap 'fresh'",  # the other one of the two may have been stored before
    "the schedule has no time to come",  # all of its times are past
    "answers: the thread has no open question",
    "messages: there is no message of the user",  # the chat's last words are nobody's
    "messages: the last one of the user, ",  # has no text: which one is the last no schema can say
    "messages: the last one is the assistant's",  # without responses to what waits for approval
)
"""How a refusal of what the document allows may begin: rules that no schema can say."""
ACCEPTED = frozenset({401, 403, 404, 409, 429, 503})
"""Well formed and refused all the same: by who asks, by what there is, by how much."""
AFTER, SOON_S, LONGEST_S = "after_seconds", 0.2, 31_536_000
STREAMED = 4
"""Of so many executions that are made one is asked for as an event stream."""
THINNING = Thinning(of_a_kind=int(os.environ.get("FUZZ_OF_A_KIND", "0")), seed=int(os.environ.get("FUZZ_SEED", "0")))
PROGRESS = Progress()
atexit.register(PROGRESS.close)


@schemathesis.hook
def filter_case(ctx: Any, case: Any) -> bool:
    """Whether it is sent: of what the coverage phase enumerates not each one. What is good begins a stream that takes
    its time; all of that is one kind."""
    if _phase(case) != "coverage":
        # By the time it is sent this is the text of a mode, which may have any name.
        return not isinstance((case.query or {}).get("stream_mode"), int | float)
    operation, made = case.operation.label, case.meta.phase.data
    if operation in ENDLESS and case.meta.generation.mode.is_positive:
        return THINNING.sends(operation)
    return THINNING.sends((operation, str(made.scenario), str(made.parameter_location)))


@schemathesis.hook
def before_call(ctx: Any, case: Any, **kwargs: Any) -> None:
    """No run begins in a year: who waits for it would wait as long. And the document says what
    `Accept: text/event-stream` gives; it is no parameter, so nothing would send it."""
    for asked in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(asked, dict) and isinstance(after := asked.get(AFTER), int | float) and after > SOON_S:
            asked[AFTER] = SOON_S if after <= LONGEST_S else after
    # A case of the coverage phase is made by hand, headers and all: it stays as it is.
    drawn = _phase(case) not in ("", "coverage")
    if drawn and case.operation.label == "POST /v1/executions" and zlib.crc32(case.id.encode()) % STREAMED == 0:
        case.headers = {**(case.headers or {}), "Accept": "text/event-stream"}


@schemathesis.hook
def after_call(ctx: Any, case: Any, response: Any) -> None:
    PROGRESS.count(_phase(case), case.operation.label, response.status_code)


def _phase(case: Any) -> str:
    """Empty for a request that a check makes by itself."""
    return "" if case.meta is None else str(case.meta.phase.name)


@schemathesis.check
def accepted_or_explained(ctx: Any, response: Any, case: Any) -> None:
    """What the document allows is accepted, or refused for a reason that it cannot say."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    status = response.status_code
    if status < 400 or status in ACCEPTED:
        return
    detail = str(response.json().get("detail", "")) if status in (400, 422) else ""
    detail = re.sub(r"^\d+\.", "", detail)  # of the runs of a batch
    assert detail.startswith(EXPLAINED), f"{status} for what the document allows: {response.text[:500]}"
