"""Judges the events of streams by the description that the server itself gives of them."""

import copy
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

Json = dict[str, Any]


class Described:
    """`document`: /openapi.json. Strict: a field of a row that is not described is a mistake, too."""

    def __init__(self, document: Json) -> None:
        self._document = {"components": copy.deepcopy(document["components"])}
        self._events: dict[str, str] = {}
        for path in ("/v1/executions/{execution_id}/events", "/v1/executions/changes"):
            content = document["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"]
            for event in content["itemSchema"]["oneOf"]:
                said = event["properties"]
                self._events[said["event"]["const"]] = said["data"]["contentSchema"]["$ref"].rpartition("/")[2]
        parts = self._document["components"]["schemas"]
        self.rows = [one["$ref"].rpartition("/")[2] for one in parts["UpdateEvent"]["oneOf"]]
        for name in self.rows:
            parts[name]["additionalProperties"] = False
            parts[name]["properties"]["payload"]["additionalProperties"] = False
        self._kinds = {parts[name]["properties"]["kind"]["const"]: name for name in self.rows}

    def mistakes(self, events: Iterable[tuple[str, Any]]) -> list[str]:
        """Of events (name, data): one line for each that is not as described. Names and kinds must be known."""
        found = []
        for name, data in events:
            part = self._kinds[data["kind"]] if name == "update" else self._events[name]
            judge = Draft202012Validator({**self._document, "$ref": f"#/components/schemas/{part}"})
            found += [f"{part} {error.json_path}: {error.message[:300]}" for error in judge.iter_errors(data)]
        return found
