"""The contract's validation rules, read from its words: what values each of them refuses, and one that it lets pass."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.methods.facts import ENVIRONMENT, FACTS

UNSET = object()
"""As a value: the field is left out."""
RULES: dict[str, str] = FACTS["validations"]
TEXTS = ("", "latest", "v1.0_rc-2", "0123456789abcdef" * 4)
"""Good for the patterns of the contract, or for some of them."""
WRONG_TEXTS = (*TEXTS, "a b", "ä", "a/b", "x\n", "0123456789abcdef" * 4 + "\n", "0123456789ABCDEF" * 4)
ENVIRONMENT_REFS = "ai.stigmer.agentic.agentinstance.v1.AgentInstanceSpec.environment_refs"
OLD_ENVIRONMENT, NEW_ENVIRONMENT = "this.kind == 52", f"this.kind == {ENVIRONMENT.number}"
"""A recorded difference: the expression has the kind's former number, the rule's text and the enum have the new one."""


class UnknownRule(AssertionError):
    """The facts say something that is not understood here, and so would not be tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One rule of a field. `inner`: the field of the value that it looks at; `each`: it is about items of a list."""

    label: str
    good: Any
    bad: tuple[Any, ...]
    inner: str = ""
    each: bool = False
    says: str = ""
    """The contract's own text, where it has one."""


def clauses(field: dict[str, Any], words: str, *, each: bool = False) -> Iterator[Clause]:
    """`field`: the facts of the field that the words are about. Raises `UnknownRule`."""
    if (items := words.removeprefix("each item: ")) != words:
        yield from clauses(field, items, each=True)
        return
    while words:
        clause, rest = _first(field, words)
        yield Clause(
            label=clause.label, good=clause.good, bad=clause.bad, inner=clause.inner, says=clause.says, each=each
        )
        words = rest.removeprefix("; ")


def _first(field: dict[str, Any], words: str) -> tuple[Clause, str]:
    if found := re.match(r'CEL \[(.+?)\]: (.+?) - else message: "(.+?)"', words):
        return _expression(field, *found.groups()), words[found.end() :]
    if found := re.match(r"required \(message must be set; scalar must be non-zero/non-empty\)", words):
        good = {"string": "x", "bytes": b"x"}.get(field["type"], UNSET)
        return Clause(label="required", good=good, bad=(UNSET,)), words[found.end() :]
    if found := re.match(r"must be a value defined in the enum \(.*?\)", words):
        known = set(FACTS["enums"][field["type"]].values())
        return Clause(label="defined", good=0, bad=(max(known) + 1, -1)), words[found.end() :]
    if found := re.fullmatch(r'must equal "(.+)"', words):
        return Clause(label="equal", good=found[1], bad=("", found[1] + "x", found[1].upper())), ""
    if found := re.fullmatch(r"length at least (\d+) characters", words):
        # characters of two bytes each: it is not the bytes that count
        return Clause(label="length", good="é" * int(found[1]), bad=("é" * (int(found[1]) - 1),)), ""
    if found := re.fullmatch(r"at least (\d+)", words):
        return Clause(label="least", good=int(found[1]), bad=(int(found[1]) - 1, -1)), ""
    if found := re.fullmatch(r"must match regex (.+)", words):
        # In the contract `$` is the end of the text, in Python also before a newline there.
        pattern = found[1].replace("$", r"\Z")
        good = [text for text in TEXTS if re.search(pattern, text)]
        bad = [text for text in WRONG_TEXTS if not re.search(pattern, text)]
        return Clause(label="pattern", good=good[0], bad=tuple(bad)), ""
    raise UnknownRule(words)


def _expression(field: dict[str, Any], name: str, expression: str, says: str) -> Clause:
    """An expression that compares one enum field of a message with numbers; all others are refused."""
    if "environment" in name and OLD_ENVIRONMENT in expression and says.endswith("kind=environment"):
        expression = expression.replace(OLD_ENVIRONMENT, NEW_ENVIRONMENT)
    compared = re.findall(r"this\.(\w+) == (\d+)", expression)
    if " || ".join(f"this.{inner} == {number}" for inner, number in compared) != expression:
        raise UnknownRule(expression)
    (inner,) = {inner for inner, _ in compared}
    allowed = [int(number) for _, number in compared]
    (enum,) = (f["type"] for f in FACTS["messages"][field["type"]] if f["name"] == inner)
    bad = [number for number in FACTS["enums"][enum].values() if number not in allowed]
    if not bad:
        raise UnknownRule(f"{expression} refuses nothing")
    return Clause(label=name, good=allowed[0], bad=tuple(bad), inner=inner, says=says)
