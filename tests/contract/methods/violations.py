"""For each method, each field that its request can hold at any depth, and each rule of that field: messages that break
it, and nothing else. Made from the facts alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.contract.methods.facts import FACTS, METHODS
from tests.contract.methods.rule_words import RULES, UNSET, Clause, clauses

KEY = "CONTRACT_TEST"
"""Of the entries that are put into maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A way to break one rule. `steps` lead from the request to the field; each is the facts of a field."""

    method: str
    rule: str
    """The full name of the field with the rule."""
    steps: tuple[dict[str, Any], ...]
    clause: Clause

    @property
    def id(self) -> str:
        return f"{self.method}-{'.'.join(step['name'] for step in self.steps)}-{self.clause.label}"

    def broken(self, valid: Any) -> Iterator[tuple[str, Any]]:
        """(path of the field, the request) for each value that the rule refuses. `valid` stays as it is."""
        for value in self.clause.bad:
            message = type(valid)()
            message.CopyFrom(valid)
            yield self._put(message, value), message

    def _put(self, message: Any, value: Any) -> str:
        path, at = "", message
        *way, last = self.steps
        for step in way:
            name, at = _entered(at, step)
            path += f"{name}."
        if self.clause.each:
            name, item = _entered(at, last)
            setattr(item, self.clause.inner, value)
            return f"{path}{name}.{self.clause.inner}"
        if self.clause.inner:
            getattr(at, last["name"]).SetInParent()
            setattr(getattr(at, last["name"]), self.clause.inner, value)
            return f"{path}{last['name']}.{self.clause.inner}"
        if value is UNSET:
            at.ClearField(last["name"])
        else:
            setattr(at, last["name"], value)
        return path + str(last["name"])


def breaches() -> Iterator[Breach]:
    for method, facts in METHODS.items():
        for type_, steps in _fields(facts.input, ()):
            rule = f"{type_}.{steps[-1]['name']}"
            for clause in clauses(steps[-1], RULES[rule]) if rule in RULES else ():
                yield Breach(method=method, rule=rule, steps=steps, clause=clause)


def _fields(type_: str, steps: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, tuple[dict[str, Any], ...]]]:
    """All fields at any depth, with the way to each. The contract's messages do not contain themselves."""
    for field in FACTS["messages"][type_]:
        yield type_, (*steps, field)
        if (content := _content(field)) in FACTS["messages"]:
            yield from _fields(content, (*steps, field))


def _content(field: dict[str, Any]) -> str:
    return str(field["map"]["value"] if field["label"] == "map" else field["type"])


def _entered(message: Any, field: dict[str, Any]) -> tuple[str, Any]:
    """The message in this field, and how a path names it: of lists and maps a new entry that keeps all rules."""
    name, value = field["name"], getattr(message, field["name"])
    if field["label"] == "repeated":
        entry = value.add()
        _fill(entry, f"{message.DESCRIPTOR.full_name}.{name}", field)
        return f"{name}[{len(value) - 1}]", entry
    if field["label"] == "map":
        _fill(value[KEY], "", field)
        return f'{name}["{KEY}"]', value[KEY]
    if not message.HasField(name):
        value.SetInParent()
        _fill(value, "", field)
    return name, value


def _fill(message: Any, rule: str, field: dict[str, Any]) -> None:
    """What the rules ask of a new message: those of its own fields, and those of the list that it is in."""
    for clause in clauses(field, RULES.get(rule, "")):
        setattr(message, clause.inner, clause.good)
    for inner in FACTS["messages"][message.DESCRIPTOR.full_name]:
        for clause in clauses(inner, RULES.get(f"{message.DESCRIPTOR.full_name}.{inner['name']}", "")):
            if clause.good is not UNSET and not clause.each and not clause.inner:
                setattr(message, inner["name"], clause.good)
