"""Bodies and answers as `/openapi.json` describes them. `executions/drafts/draft.py` and others read the bodies.

The contract's messages are described by `message_schemas.py`, refusals by `document.py`.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from agent_runner.app.server.executions.drafts.run_config import MAX_LIMIT, OURS
from agent_runner.app.server.http.document.message_schemas import ENV_NAME, TEXT, ref
from agent_runner.app.server.http.document.schedule_schemas import SCHEDULE_PARTS
from agent_runner.status.attachments import MAX_ATTACHMENTS
from agent_runner.status.failures import RETRIED_CODES
from agent_runner.status.media import KINDS
from agent_runner.status.requests import webhooks
from agent_runner.status.requests.fair_turns import HIGHEST, LOWEST
from agent_runner.status.requests.model_order import MOST, MOST_CHARS
from agent_runner.status.requests.retries import LARGEST_COEFFICIENT, LEAST_PAUSE_S, LONGEST_PAUSE_S, MOST_ATTEMPTS
from agent_runner.status.timeouts import CALLER_TIMEOUTS, LEAST_S

Schema = dict[str, Any]
JSON, EVENTS = "application/json", "text/event-stream"
_TEXT: Schema = {"type": ["string", "null"], "pattern": TEXT}
_SECRETS: Schema = {
    "type": ["object", "null"],
    "propertyNames": {"pattern": ENV_NAME},
    "additionalProperties": {"type": "string", "minLength": 1, "pattern": TEXT},
}
_FREE_NAME = f"^(?!__|langgraph_|({'|'.join(sorted(OURS))})$)"
_SECONDS: Schema = {"type": "number", "minimum": LEAST_S}
_WHOLE: Schema = {"type": "integer"}
STRING: Schema = {"type": "string"}
_ADDRESS: Schema = {
    "type": "string",
    "maxLength": 4000,
    "pattern": r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,4})?(/[!-~]*)?$",
}
BYTES: Schema = {"schema": {"type": "string", "format": "binary"}}
STRINGS: Schema = {"type": "array", "items": STRING}
_SHORT: Mapping[str, Schema] = {
    "agent": {**_TEXT, "description": "slug or id; without it the built-in agent answers"},
    "session_id": {**_TEXT, "description": "go on in this session"},
    "graph": {**_TEXT, "description": "a graph of langgraph.json"},
    "model": _TEXT,
    "env": {**_SECRETS, "description": "secrets of this run"},
    "timeouts": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": dict.fromkeys(sorted(CALLER_TIMEOUTS), _SECONDS),
        "description": "they must agree with each other and with the server's limits",
    },
    "context": {"type": ["object", "null"], "description": "for the graph's context_schema"},
    "config": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "tags": {"type": ["array", "null"], "items": {"type": "string", "pattern": TEXT}},
            "metadata": {"type": ["object", "null"], "propertyNames": {"pattern": _FREE_NAME}},
            "configurable": {
                "type": ["object", "null"],
                "propertyNames": {"pattern": _FREE_NAME},
                "description": "names that the graph declares or the worker lists; no secrets",
            },
            "recursion_limit": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_LIMIT},
            "max_concurrency": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_LIMIT},
        },
        "description": "LangGraph's config of this run",
    },
    "retry": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "maximum_attempts": {"type": "integer", "minimum": 1, "maximum": MOST_ATTEMPTS},
            "initial_interval_s": {"type": "number", "minimum": LEAST_PAUSE_S, "maximum": LONGEST_PAUSE_S},
            "backoff_coefficient": {"type": "number", "minimum": 1, "maximum": LARGEST_COEFFICIENT},
            "maximum_interval_s": {"type": "number", "minimum": LEAST_PAUSE_S, "maximum": LONGEST_PAUSE_S},
            "codes": {"type": "array", "minItems": 1, "items": {"enum": [code.value for code in RETRIED_CODES]}},
        },
        "description": "how often it may be tried, and after which failures; without it once",
    },
    "priority": {
        "type": ["integer", "null"],
        "minimum": LOWEST,
        "maximum": HIGHEST,
        "description": "inside its org, where orgs take turns: the higher comes first; 0 by default",
    },
    "fallback_models": {
        "type": ["array", "null"],
        "maxItems": MOST,
        "uniqueItems": True,
        "items": {"type": "string", "minLength": 1, "maxLength": MOST_CHARS, "pattern": TEXT},
        "description": "models that are asked in this order if the first gives no answer; [] for none",
    },
    "webhook": {
        "description": "called when it begins, asks and ends: an address, or an object",
        "anyOf": [
            {"type": "null"},
            _ADDRESS,
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["url"],
                "properties": {
                    "url": _ADDRESS,
                    "events": {"type": ["array", "null"], "minItems": 1, "items": {"enum": list(webhooks.EVENTS)}},
                    "headers": {
                        "type": ["object", "null"],
                        "maxProperties": webhooks.MOST_HEADERS,
                        "propertyNames": {"pattern": f"^{webhooks.HEADER}$"},
                        "additionalProperties": {"type": "string", "pattern": f"^{webhooks.TEXT}$", "maxLength": 4000},
                        "description": "sent with each call; any names but those of HTTP itself and of Agent Runner",
                    },
                    "secret": {"type": ["string", "null"], "maxLength": 4000, "pattern": TEXT},
                    "answer_tokens": {
                        "type": ["boolean", "null"],
                        "description": "calls about questions bring tokens that answer them without a key",
                    },
                },
            },
        ],
    },
    "org": {**_TEXT, "description": "without it the key's, else `local`"},
}


def _short(**what: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(what),
        "properties": {**what, **_SHORT},
    }


_INPUT: Schema = {
    "type": ["object", "array", "string", "number", "boolean"],
    "description": "fields of a graph's state (`messages` in OpenAI's form too), or the answer to the open question",
}


def _block(**what: Schema) -> Schema:
    """It may have more fields: `cache_control`, `detail` and the like."""
    return {"type": "object", "required": list(what), "properties": what}


_WEB: Schema = {"type": "string", "pattern": r"^https?://[!-~]+$"}
_DATA: Schema = {"type": "string", "minLength": 4, "pattern": r"^(?:[A-Za-z0-9+/]{4})+$", "contentEncoding": "base64"}
_NAME: Schema = {"type": "string", "pattern": TEXT}
_BLOCKS: Schema = {
    "anyOf": [
        _block(type={"const": "text"}, text={"type": "string", "pattern": TEXT}),
        *(
            _block(type={"const": kind}, base64=_DATA, mime_type={"type": "string", "pattern": pattern})
            for kind, pattern in (
                *((kind, f"^{kind}/[a-z0-9]+$") for kind in KINDS if kind != "file"),
                ("file", "^[a-z]+/[a-z0-9]+$"),
            )
        ),
        _block(type={"enum": list(KINDS)}, url=_WEB),
        _block(type={"enum": list(KINDS)}, file_id={"type": "string", "minLength": 1, "pattern": TEXT}),
        _block(type={"const": "image_url"}, image_url=_block(url=_WEB)),
    ],
    "description": "text, or a picture, a sound, a film, a file; also in other forms of OpenAI and Anthropic, and with"
    " more fields, see the guide",
}
for _one in _BLOCKS["anyOf"][1:-1]:
    _one["properties"]["filename"] = _NAME
_WORDS: Schema = {"type": "string", "pattern": r"[^\s\u001c-\u001f\u0085\ufeff]"}
_OF_MEDIA: Schema = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": [*KINDS, "image_url"]}},
}
_MESSAGE: Schema = {
    "type": ["string", "array"],
    "minLength": 1,
    "pattern": TEXT,
    "minItems": 1,
    "maxItems": MAX_ATTACHMENTS,
    "items": {"anyOf": [{"type": "string", "pattern": TEXT}, _BLOCKS]},
    "contains": {"anyOf": [_WORDS, _block(type={"const": "text"}, text=_WORDS), _OF_MEDIA]},
    "description": "what the user says: text, or a list of content blocks of which one at least is more than blank",
}
MESSAGE_FORM = _short(message=_MESSAGE)
MESSAGE_FORM["example"] = {"message": "$ uname -a"}
MESSAGE_FORM["properties"]["input"] = {**_INPUT, "type": [*_INPUT["type"], "null"]}
INPUT_FORM = _short(input=_INPUT)
ANSWERS_FORM = _short(
    answers={
        "type": "object",
        "minProperties": 1,
        "description": "answers, each any JSON, by the ids of the session's open questions; some or all of them",
    },
)
ANSWERS_FORM["required"] += ["session_id"]
ANSWERS_FORM["properties"]["session_id"] = {
    "type": "string",
    "minLength": 1,
    "pattern": TEXT,
    "description": "that waits",
}
REDRIVE_FORM: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "env": {**_SECRETS, "description": "the secrets that the first run had"},
        "from": {
            "type": "string",
            "enum": ["failed_step", "start", ""],
            "description": "failed_step: finished steps are kept, the open one begins again; start: before the run;"
            " by default the first that is possible",
        },
    },
}
_TIME: Schema = {"type": "string", "format": "date-time"}
API_KEY: Schema = {
    "type": "object",
    "required": ["id", "name", "scopes", "org", "created_at"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "scopes": STRINGS,
        "org": {"type": "string", "description": "empty: all"},
        "created_at": _TIME,
        "last_used_at": _TIME,
        "revoked_at": _TIME,
        "expires_at": {**_TIME, "description": "missing: never"},
        "queues": {**STRINGS, "description": "of a key for workers: what it serves; empty: all"},
        "made_by": {"type": "string", "description": "the id of the key that made it; empty: not known"},
    },
}
WORKER: Schema = {
    "type": "object",
    "required": ["incarnation", "state"],
    "properties": {
        **dict.fromkeys(
            ("incarnation", "name", "role", "queue", "hostname", "version", "exit_text", "not_taking"), STRING
        ),
        "sandbox": {
            **STRING,
            "description": "what its commands run in: isolated; a user of its own, not isolated, and why; none",
        },
        **dict.fromkeys(("pid", "slots", "busy", "hung_threads"), _WHOLE),
        **dict.fromkeys(("connected_at", "last_seen_at", "disconnected_at", "gone_at"), _TIME),
        "state": {"enum": ["online", "silent", "disconnected", "gone"]},
        "loop_lag_s": {"type": "number"},
    },
}
SESSION_STATE: Schema = {
    "type": "object",
    "required": ["session_id", "values", "messages", "questions", "truncated"],
    "properties": {
        "session_id": STRING,
        "execution_id": {**STRING, "description": "the newest one that has ended; empty before that"},
        "checkpoint_id": {**STRING, "description": "the head of its memory; empty if there is none"},
        "created_at": {**STRING, "description": "when that execution ended"},
        "values": {"type": "object", "description": "the fields of the graph's state beside `messages`"},
        "values_of": {**STRING, "description": "the execution that left these values"},
        "messages": {
            "type": "array",
            "items": {"type": "object"},
            "description": "as in a status, oldest first",
        },
        "truncated": {"type": "boolean", "description": "there are older messages"},
        "questions": {"type": "array", "items": {"type": "object"}, "description": "the open ones, each with its id"},
        "next": {
            "type": ["array", "null"],
            "items": STRING,
            "description": "the nodes that the graph goes on with, one for each task; empty at its end;"
            " null where its worker could not tell",
        },
    },
}
PARTS: Mapping[str, Schema] = {
    "SessionState": SESSION_STATE,
    "ShortForm": MESSAGE_FORM,
    "ShortFormWithInput": INPUT_FORM,
    "ShortFormWithAnswers": ANSWERS_FORM,
    "RedriveForm": REDRIVE_FORM,
    "ApiKey": API_KEY,
    "Worker": WORKER,
    **SCHEDULE_PARTS,
}
"""The schemas of this module that are referred to by name."""


_FORMS = ("ShortForm", "ShortFormWithInput", "ShortFormWithAnswers", "AgentExecutionInput")
CREATE_FORMS: Schema = {"anyOf": [ref(name) for name in _FORMS]}


def body_of(body: Schema | type[BaseModel], *, required: bool = True) -> Schema:
    """`openapi_extra` for a JSON body. A model's own definitions are put where they are used."""
    schema = _schema_of(body) if isinstance(body, type) else inlined(body)
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}


@cache
def _schema_of(model: type[BaseModel]) -> Schema:
    """Made once: routes share models, and to make one takes a millisecond of a server's start."""
    schema: Schema = inlined(model.model_json_schema())
    return schema


def answer(schema: Schema, description: str = "done", **headers: str) -> dict[str, Any]:
    """One entry of a route's `responses`. `headers`: its possible headers, described (`Retry_After` is Retry-After)."""
    described: dict[str, Any] = {"description": description, "content": {JSON: {"schema": schema}}}
    if headers:
        told = {name.replace("_", "-"): {"description": text, "schema": STRING} for name, text in headers.items()}
        described["headers"] = told
    return described


def inlined(schema: Any, known: Mapping[str, Schema] = MappingProxyType({})) -> Any:
    """The schema with its definitions, and those of `known`, in place of the references to them."""
    if isinstance(schema, list):
        return [inlined(part, known) for part in schema]
    if not isinstance(schema, dict):
        return schema
    known = {**known, **schema.get("$defs", {})}
    reference = schema.get("$ref", "")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        return inlined(known[reference.removeprefix("#/$defs/")], known)
    return {name: inlined(part, known) for name, part in schema.items() if name != "$defs"}


def object_of(**properties: Schema) -> Schema:
    """The schema of an object with all of these properties."""
    return {"type": "object", "required": list(properties), "properties": properties}


TICKET: Schema = object_of(
    ticket=STRING,
    url={"type": "string", "description": "the path of the stream, with the ticket in it"},
    expires_at={**_TIME, "description": "the stream must have begun"},
)


def page_of(name: str) -> Schema:
    return object_of(
        entries={"type": "array", "items": ref(name)},
        next_page_token={"type": "string", "description": "empty on the last page"},
        total={"type": "integer", "minimum": 0},
    )


CREATE_BODY = body_of(CREATE_FORMS)
