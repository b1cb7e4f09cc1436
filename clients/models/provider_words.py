"""A provider's report of an error: its sentence, its status, its own name for it.

Bodies come in many forms: an error in an object, a list of wrong fields, the words of another provider within those of
a gateway, the page of a proxy. Each becomes one sentence for people, without Python dicts and HTML.
"""

import ast
import html
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_PAGE = re.compile(r"\s*<(!doctype html|html|head|body|\?xml)\b", re.I)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1>", re.I | re.S)
_TAG = re.compile(r"<[^>]*>")
_STATUS_ONLY = re.compile(r"(Error code:|\(?status code:) -?\d+\)?$", re.I)
_LONGEST_PAGE = 200
_SILENT = {
    "ReadError": "the connection was reset",
    "ReadTimeout": "nothing came in time",
    "WriteError": "the connection was reset",
    "ConnectTimeout": "nobody answered in time",
}
"""In place of errors that say nothing, by the name of their class."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status; None for 200, which is the status of a stream that failed later. Google's errors have it as
    their code, those of AWS in their answer."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    answer = getattr(error, "response", None)
    if not isinstance(status, int) and isinstance(answer, Mapping):
        status = (answer.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status != 200 else None


def kind_and_code(body: Any) -> tuple[str, Any]:
    """The provider's type and code of the error."""
    inner = body.get("error") if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping) else body
    if not isinstance(inner, Mapping):
        return "", None
    code = inner.get("code")
    code = int(code) if isinstance(code, str) and code.isdigit() else code
    kind = inner.get("type") or (code if isinstance(code, str) else "")
    return str(kind), code


def said_in(body: Any) -> str:
    """The provider's sentence in a body; empty if it has none."""
    while isinstance(body, Mapping):
        said = body.get("message") or body.get("detail") or body.get("msg")
        if isinstance(said, str):
            return ": ".join(filter(None, (said, _of_another(body))))
        body = body.get("error") or said or body.get("errors")
    if isinstance(body, list):
        return "; ".join(filter(None, map(_of_field, body)))
    return body if isinstance(body, str) else ""


def sentence(error: BaseException) -> str:
    """The provider's own words, with its status and its name for the error."""
    text = " ".join(str(error).split())
    body = getattr(error, "body", None)
    if body is None and (start := text.find("{")) >= 0:
        body = _parsed(text[start:])
    status, (kind, _) = status_of(error), kind_and_code(body)
    said = " ".join(said_in(body).split())
    if not said and isinstance(body, Mapping) and body:
        said = json.dumps(body, ensure_ascii=False, default=str)
    if not said:
        said = re.sub(r" ?\(status code: -?\d+\)$", "", text)
    if is_page(said):
        said = _of_page(said)
    if not said or _STATUS_ONLY.match(said):
        return f"it answered {status} and said nothing" if status else _silent(error)
    status = status if status and status > 0 else None  # Ollama's client says -1 for an error in the stream
    marks = [str(mark) for mark in (status, kind) if mark and str(mark) not in said]
    return f"{said} ({', '.join(marks)})" if marks else said


def is_page(text: str) -> bool:
    """Whether it is HTML, which no provider of models sends as an answer."""
    return bool(_PAGE.match(text))


def fields_of(error: ValidationError) -> str:
    """The wrong fields and the reason for each, without the values that were given."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    )


def retry_after_s(response: Any) -> float:
    """How long a provider asks to wait; 0 if it does not say, or says it as a date."""
    headers = getattr(response, "headers", None)
    try:
        return max(0.0, float(headers["retry-after"])) if headers else 0.0
    except (KeyError, TypeError, ValueError):
        return 0.0


def _of_another(error: Mapping[str, Any]) -> str:
    """The words of the provider behind a gateway (OpenRouter passes them on unchanged)."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if isinstance(raw, str):
        parsed = _parsed(raw)
        return said_in(parsed) or raw if isinstance(parsed, Mapping) else raw
    return said_in(raw)


def _of_field(one: Any) -> str:
    """A wrong field, as FastAPI reports it, or any other item of a list of errors."""
    if not isinstance(one, Mapping):
        return said_in(one)
    place = one.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list | tuple) else ""
    return ": ".join(filter(None, (where, said_in(one))))


def _of_page(page: str) -> str:
    title = _TITLE.search(page)
    words = " ".join(html.unescape(_TAG.sub(" ", title[2] if title else page)).split())[:_LONGEST_PAGE]
    return f"a web page came instead of an answer: {words or 'an empty one'}"


def _silent(error: BaseException) -> str:
    return next((_SILENT[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _SILENT), "")


def _parsed(text: str) -> Any:
    """The body in a text that is JSON or a Python dict; None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None
