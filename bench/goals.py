"""What each measurement is called, its unit, and the goal it is held to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The value is to be at most (or at least) `factor` x the baseline + `plus`."""

    measure: str
    unit: str
    factor: float = 0.0
    plus: float = 0.0
    at_least: bool = False

    def limit(self, baseline: float) -> float:
        return self.factor * baseline + self.plus

    def is_met(self, value: float, baseline: float) -> bool:
        limit = self.limit(baseline)
        return value >= limit if self.at_least else value <= limit

    def __str__(self) -> str:
        parts = [f"{self.factor:.3g} x baseline"] if self.factor else []
        parts += [f"{self.plus:g} {self.unit}"] if self.plus or not parts else []
        return f"{'>=' if self.at_least else '<='} {' + '.join(parts)}"


GOALS: dict[str, dict[str, Goal]] = {
    "S1": {
        "p50": Goal(measure="POST to end, idle, p50; baseline: chain + graph", unit="ms", factor=2.5),
        "p99": Goal(measure="POST to end, idle, p99; baseline: its p50", unit="ms", factor=3),
    },
    "S2": {
        "first": Goal(measure="POST to first token, idle, p50; baseline: chain alone", unit="ms", factor=3, plus=2),
        "chunk": Goal(measure="first chunk of a model to client, idle, p50; baseline: bare loop", unit="ms", plus=3),
    },
    "S3": {
        "ratio": Goal(
            measure="runs/s of 32 clients; baseline: chain + graph", unit="runs/s", factor=1 / 1.5, at_least=True
        ),
        "rate": Goal(measure="runs/s of 32 clients, one worker", unit="runs/s", plus=110, at_least=True),
    },
    "S4": {
        "complete": Goal(
            measure="200 slow runs at once: complete; baseline: started", unit="runs", factor=1, at_least=True
        ),
        "time": Goal(
            measure="200 slow runs at once: time beyond a run's own; baseline: 200 / (runs/s)", unit="s", factor=1.3
        ),
    },
    "S5": {
        "tokens": Goal(measure="worker CPU per event, 2,000 tokens; baseline: bare loop", unit="us", factor=1.15),
        "tools": Goal(measure="worker CPU per event, 50 tools; baseline: bare loop", unit="us", factor=1.6),
        "fixed": Goal(measure="worker CPU per run of 20 tokens; baseline: chain + graph", unit="ms", factor=1, plus=3),
    },
    "S6": {
        "plain": Goal(measure="memory per concurrent run, plain graph; baseline: chain + graph", unit="MiB", plus=0.5),
        "deep": Goal(measure="memory per concurrent run, deep agent; baseline: chain + graph", unit="MiB", plus=0.5),
    },
    "S7": {
        "tools_wire": Goal(measure="300 tools: bytes sent by the worker; baseline: final status", unit="KB", factor=3),
        "tools_store": Goal(measure="300 tools: bytes of log and snapshots; baseline: the same", unit="KB", factor=3),
        "slow_wire": Goal(measure="20 tokens/s: bytes sent by the worker; baseline: final status", unit="KB", factor=3),
        "slow_store": Goal(measure="20 tokens/s: bytes of log and snapshots; baseline: the same", unit="KB", factor=3),
    },
    "S9": {
        "cpu": Goal(measure="server CPU per delivered event, 1,000 readers; baseline: bare server", unit="us", plus=40),
        "lost": Goal(measure="events lost; baseline: events to deliver", unit="events"),
    },
    "S11": {
        "start": Goal(measure="worker start to end of the first run; baseline: chain + graph", unit="s", plus=2),
        "help": Goal(
            measure="fastapi, sqlalchemy, langgraph imported by --help; baseline: all", unit="packages", plus=0
        ),
    },
    "S12": {
        "share": Goal(
            measure="compatible reporting: seconds of updates; baseline: the run of 60 s", unit="s", factor=0.01
        ),
    },
    "S13": {
        "sqlite": Goal(
            measure="executions ended by a sweep, SQLite; baseline: bare updates", unit="1/s", plus=200, at_least=True
        ),
        "postgres": Goal(
            measure="executions ended by a sweep, Postgres; baseline: bare updates", unit="1/s", plus=200, at_least=True
        ),
    },
    "S14": {
        "during": Goal(
            measure="neighbours of 210 hung threads until their worker is replaced, p99; baseline: before",
            unit="ms",
            factor=2,
        ),
        "after": Goal(measure="neighbours after that, p99; baseline: before", unit="ms", factor=2),
        "back": Goal(measure="end of the hung runs to a worker at full strength", unit="s", plus=60),
        "wrong": Goal(measure="runs beside hung threads that ended with a false code", unit="runs"),
    },
    "S15": {
        "server": Goal(measure="server CPU per run under load; baseline: chain + graph's worker", unit="ms", factor=1),
        "worker": Goal(
            measure="worker CPU per run under load; baseline: chain + graph's worker", unit="ms", factor=1, plus=8
        ),
        "beside": Goal(measure="supervisors' CPU per run under load; baseline: the same", unit="ms", plus=0.5),
    },
    "S16": {
        "live": Goal(
            measure="200 runs at once: end after first token, p50s; baseline: a run's own",
            unit="s",
            plus=0.7,
            at_least=True,
        ),
        "time": Goal(measure="200 runs at once, 250 slots: all ended; baseline: chain + graph", unit="s", factor=1.3),
        "slots": Goal(measure="200 runs at once, 250 slots: all ended; baseline: 50 slots", unit="s", factor=1),
    },
    "S19": {
        "server": Goal(measure="server CPU per run under load; baseline: the other checkout", unit="ms", factor=1 / 7),
        "worker": Goal(measure="worker CPU per run under load; baseline: the other checkout", unit="ms", factor=1),
        "rate": Goal(
            measure="runs/s of 32 clients; baseline: the other checkout", unit="runs/s", factor=3, at_least=True
        ),
    },
    "S17": {
        "all": Goal(measure="dev idle: private memory of all processes", unit="MiB", plus=330),
        "supervisor": Goal(measure="dev idle: private memory of the largest supervisor", unit="MiB", plus=12),
    },
    "S18": {
        "cpu_messages-tuple": Goal(
            measure="SDK's stream, messages-tuple: CPU per run; baseline: our SSE", unit="ms", factor=1.15
        ),
        "time_messages-tuple": Goal(
            measure="SDK's stream, messages-tuple: POST to end, p50; baseline: our SSE", unit="ms", factor=1.15
        ),
        "cpu_messages": Goal(measure="SDK's stream, messages: CPU per run; baseline: our SSE", unit="ms", factor=1.15),
        "time_messages": Goal(
            measure="SDK's stream, messages: POST to end, p50; baseline: our SSE", unit="ms", factor=1.15
        ),
    },
}
