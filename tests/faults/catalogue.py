"""The expectations, read from catalogue.json, and the bounds that follow from the settings of one stack.

A bound is a formula over names of settings (`heartbeat_timeout_s + sweep_interval_s + slack_s`), so that a stack with
scaled timeouts is measured by its own values. `slack_s` is what this machine is given for noticing and telling.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_runner.clients.settings.settings import Settings, env_names
from tests.integration import rabbitmq

FILE = Path(__file__).with_name("catalogue.json")
POOLS = ("async", "prefork")
BROKERS = ("redis", "rabbitmq")
RABBITMQ_URL = rabbitmq.VARIABLE
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one execution of a case must end. `code`: E101, or COMPLETED or CANCELLED."""

    code: str
    within: str = ""
    """Formula: seconds after the fault by which its end is told. Empty: schedule-to-close, the outermost bound."""
    not_before: str = ""
    """Formula: seconds after the fault before which it must not end (a reason is never early)."""
    says: tuple[str, ...] = ()
    """Texts that its error contains; `{name}` is a fact that the case states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `part` tells the variants of one fault apart."""

    fault: str
    part: str
    title: str
    pools: tuple[str, ...]
    brokers: tuple[str, ...] = BROKERS[:1]
    """What carries the messages. Redis is there in any case: it carries wake-ups and results."""
    ends: Mapping[str, End]
    """By the role that the execution plays in the case."""
    settings: Mapping[str, str]
    needs: str
    """The variable that names a service which not every machine has; without it the row is left out. Whatever has
    RabbitMQ as broker needs `AGENT_RUNNER_TEST_AMQP_URL`."""
    reconnects: bool
    """Subscribers lose their server in this case and come back with the last seq they saw."""

    @property
    def id(self) -> str:
        return f"{self.fault}/{self.part}" if self.part else self.fault

    @property
    def expected(self) -> str:
        return told({role: end.code for role, end in self.ends.items()})

    def missing(self, broker: str, environment: Mapping[str, str]) -> str:
        """The first variable without which it cannot be played with that broker; empty if it can."""
        needed = [self.needs, RABBITMQ_URL if broker == "rabbitmq" else ""]
        return next((name for name in needed if name and not environment.get(name)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    rows: tuple[Row, ...]
    settings: Mapping[str, str]
    """The scaled settings of every stack, as environment variables."""
    slack_s: float
    phrases: Mapping[str, str] = field(default_factory=dict)
    """What every error with that code says."""


def load(path: Path = FILE) -> Catalogue:
    document = json.loads(path.read_text("utf-8"))
    return Catalogue(
        rows=tuple(_row(given) for given in document["rows"]),
        settings=document["settings"],
        slack_s=float(document["slack_s"]),
        phrases=document["phrases"],
    )


def told(codes: Mapping[str, str]) -> str:
    """`E104`, or `culprit E104, neighbour E103` where a case has several executions."""
    if len(codes) == 1:
        return next(iter(codes.values()))
    return ", ".join(f"{role} {code}" for role, code in codes.items())


def seconds(formula: str, environment: Mapping[str, str], *, slack_s: float) -> float:
    """The value of a bound in a stack with this environment."""
    return _value(ast.parse(formula, mode="eval").body, {**settings_of(environment), "slack_s": slack_s})


def settings_of(environment: Mapping[str, str]) -> dict[str, float]:
    """The settings that are numbers, by field name: from these variables, else the defaults."""
    values = {}
    for name, info in Settings.model_fields.items():
        given = next((environment[variable] for variable in env_names(name) if environment.get(variable)), info.default)
        if isinstance(info.default, int | float) and not isinstance(info.default, bool):
            values[name] = float(given)
    return values


def _row(given: dict[str, Any]) -> Row:
    return Row(
        fault=given["fault"],
        part=given.get("part", ""),
        title=given["title"],
        pools=tuple(given.get("pools", POOLS[:1])),
        brokers=tuple(given.get("brokers", BROKERS[:1])),
        ends={role: _end(end) for role, end in given["ends"].items()},
        settings=given.get("settings", {}),
        needs=given.get("needs", ""),
        reconnects=given.get("reconnects", False),
    )


def _end(given: dict[str, Any]) -> End:
    return End(**{**given, "says": tuple(given.get("says", ()))})


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
    raise ValueError(f"a bound cannot contain {ast.unparse(node)!r}")
