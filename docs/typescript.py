"""JSON Schemas as TypeScript types: `clients/js/events.d.ts`, from the schemas of the event streams."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.app.server.http.document.document import PROBLEM_SCHEMA
from agent_runner.app.server.http.document.event_schemas import CHANGE_EVENTS, EVENT_PARTS, EXECUTION_EVENTS, NUMBERED
from agent_runner.app.server.http.document.message_schemas import message_components

Schema = Mapping[str, Any]
_REF = "#/components/schemas/"
_PRIMITIVES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_NAME = re.compile(r"[A-Za-z_]\w*")
_HEAD = """\
// Made by `make docs` from the schemas that /openapi.json has: the events of Agent Runner's streams.

"""


def event_types() -> str:
    """The whole file: the type of each event, of each kind of row, and of all that they refer to."""
    known = {**message_components(), **EVENT_PARTS, "Problem": PROBLEM_SCHEMA}
    written: dict[str, str] = {}
    wanted = [*EXECUTION_EVENTS.values(), *CHANGE_EVENTS.values()]
    while wanted:
        name = wanted.pop(0)
        if name not in written:
            written[name] = _declared(name, known[name])
            wanted += [found.removeprefix(_REF) for found in _references(known[name])]
    unions = [
        _union("ExecutionEvent", "What the stream of an execution tells.", EXECUTION_EVENTS),
        _union("ChangeEvent", "What the stream of a list's changes tells.", CHANGE_EVENTS),
    ]
    return _HEAD + "\n".join([*unions, *written.values()])


def _union(name: str, says: str, events: Mapping[str, str]) -> str:
    each = [
        f'  | {{ name: "{event}"; {"id: string" if event in NUMBERED else "id?: undefined"}; data: {part} }}'
        for event, part in events.items()
    ]
    return f"/** {says} */\nexport type {name} =\n" + "\n".join(each) + ";\n"


def _declared(name: str, schema: Schema) -> str:
    told = _type(schema, "")
    return f"{_comment(schema, '')}export type {name} ={'' if told.startswith(chr(10)) else ' '}{told};\n"


def _type(schema: Schema, indent: str) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REF)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return "".join(f"\n{indent}  | {_type(one, indent + '  ')}" for one in schema[choice])
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return " | ".join(_type({**schema, "type": kind}, indent) for kind in kinds)
    if kinds == "array":
        item = _type(schema.get("items", {}), indent)
        return f"{item}[]" if _NAME.fullmatch(item) else f"({item})[]"
    if kinds == "object":
        return _object(schema, indent)
    return _PRIMITIVES.get(str(kinds), "unknown")


def _object(schema: Schema, indent: str) -> str:
    fields = schema.get("properties")
    if not fields:
        more = schema.get("additionalProperties")
        return f"{{ [name: string]: {_type(more, indent) if isinstance(more, Mapping) else 'unknown'} }}"
    inner = indent + "  "
    lines = []
    for name, one in fields.items():
        shown = name if _NAME.fullmatch(name) else json.dumps(name)
        maybe = "" if name in schema.get("required", ()) else "?"
        lines.append(f"{_comment(one, inner)}{inner}{shown}{maybe}: {_type(one, inner)};\n")
    return "{\n" + "".join(lines) + indent + "}"


def _comment(schema: Schema, indent: str) -> str:
    said = str(schema.get("description", ""))
    return f"{indent}/** {said} */\n" if said else ""


def _references(schema: Any) -> Iterator[str]:
    match schema:
        case Mapping():
            for name, inner in schema.items():
                yield from [inner] if name == "$ref" else _references(inner)
        case list():
            for inner in schema:
                yield from _references(inner)
