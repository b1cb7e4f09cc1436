"""Reads YAML from callers: plain data, without aliases, merge keys or deep nesting.

So time and memory grow only with the length of the text. An alias names the same value again, so that a few lines stand
for millions of values; a merge key copies a mapping. Both are refused before anything is built.
"""

from typing import Any

import yaml

MAX_DEPTH = 32
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # all wheels of PyYAML have the C loader
_OPEN, _CLOSE = (yaml.MappingStartEvent, yaml.SequenceStartEvent), (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_yaml(text: str) -> Any:
    """The data of one document; None for an empty one. Raises ValueError with a text of one line."""
    try:
        _check(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {line} has an alias (*{event.anchor}); write the value itself")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            raise yaml.YAMLError(f"line {line} has a merge key (<<); write the values themselves")
        depth += isinstance(event, _OPEN) - isinstance(event, _CLOSE)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"line {line} is nested deeper than {MAX_DEPTH} levels")
