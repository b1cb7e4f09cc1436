"""The tool calls that a person approves first: the annotation `agent-runner/interrupt-on` of an agent, as JSON.

    {"execute": {"policy": "first", "args": {"command": "git push*"}},
     "files__*": true,
     "delete": {"allowed": ["approve", "reject"], "description": "A file goes."}}

A key is the name of a tool or a pattern of names, a value is true or a rule, or a list of rules of which one is enough.
`policy`: `always`, or `first` for the first such call in a session that a person approves; later ones run unasked.
`args`: a pattern for each argument that it names; without it every call counts. Patterns are those of a shell (`*`,
`?`), and see an argument that is no text as its JSON.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

ANNOTATION = "agent-runner/interrupt-on"
ALWAYS, FIRST = "always", "first"
DECISIONS = ("approve", "edit", "reject", "respond")
DEFAULT = ("approve", "edit", "reject")
FIELDS = ("policy", "args", "allowed", "description")
MOST_RULES, MOST_CHARS = 100, 2000


class ApprovalError(ValueError):
    """The text names the field and what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """`tool`, and the second part of each of `args`: patterns."""

    tool: str
    once: bool = False
    args: tuple[tuple[str, str], ...] = ()
    allowed: tuple[str, ...] = DEFAULT
    description: str = ""

    @property
    def key(self) -> str:
        """What a session remembers an approval by; the same for the same calls, whatever may be answered."""
        return json.dumps([self.tool, *map(list, self.args)])

    def of(self, name: str) -> bool:
        """Whether it is about this tool."""
        return fnmatchcase(name, self.tool)

    def matches(self, name: str, args: Mapping[str, Any]) -> bool:
        """Whether it is about this call."""
        return self.of(name) and all(
            key in args and fnmatchcase(_text(args[key]), pattern) for key, pattern in self.args
        )


def rules_of(annotation: str) -> tuple[ApprovalRule, ...]:
    """The rules that it gives, in order. Raises ApprovalError."""
    if not annotation.strip():
        return ()
    try:
        given = json.loads(annotation)
    except (ValueError, RecursionError) as error:
        raise ApprovalError(f"{ANNOTATION} is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ApprovalError(f"{ANNOTATION} must be an object of rules by the names of tools")
    found: list[ApprovalRule] = []
    for tool, told in given.items():
        if not tool or len(tool) > MOST_CHARS:
            raise ApprovalError(f"{ANNOTATION}: a tool's name is missing or too long")
        found += [_rule(tool, one) for one in (told if isinstance(told, list) else [told])]
    if len(found) > MOST_RULES:
        raise ApprovalError(f"{ANNOTATION} must have at most {MOST_RULES} rules")
    return tuple(found)


def names_no_tool(rules: Iterable[ApprovalRule], tools: Iterable[str]) -> list[str]:
    """The patterns that match none of `tools`: a name with a mistake would leave its tool unguarded."""
    known = list(tools)
    return list(dict.fromkeys(r.tool for r in rules if not any(r.of(name) for name in known)))


def _rule(tool: str, given: Any) -> ApprovalRule:
    where = f"{ANNOTATION}.{tool}"
    if given is True:
        return ApprovalRule(tool=tool)
    if isinstance(given, str):
        given = {"policy": given}
    if not isinstance(given, dict) or given.keys() - set(FIELDS):
        raise ApprovalError(f"{where} must be true, a policy, or an object with some of {', '.join(FIELDS)}")
    policy, args = given.get("policy", ALWAYS), given.get("args", {})
    if policy not in (ALWAYS, FIRST):
        raise ApprovalError(f"{where}.policy must be {ALWAYS} or {FIRST}")
    if not isinstance(args, dict) or not all(_is_text(pattern) for pattern in args.values()):
        raise ApprovalError(f"{where}.args must be an object of patterns by the names of arguments")
    allowed, description = given.get("allowed", list(DEFAULT)), given.get("description", "")
    if not isinstance(allowed, list) or not allowed or any(one not in DECISIONS for one in allowed):
        raise ApprovalError(f"{where}.allowed must be a list with some of {', '.join(DECISIONS)}")
    if not isinstance(description, str) or len(description) > MOST_CHARS:
        raise ApprovalError(f"{where}.description must be a text of at most {MOST_CHARS} characters")
    return ApprovalRule(
        tool=tool,
        once=policy == FIRST,
        args=tuple(sorted(args.items())),
        allowed=tuple(dict.fromkeys(allowed)),
        description=description,
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_CHARS


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
