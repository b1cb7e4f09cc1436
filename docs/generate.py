"""Writes what comes from the code: parts of docs/, `.env.example` and the types of clients/js. Run by `make docs`.

A generated part of a document stands between two comments, `<!-- generated: NAME -->` and `<!-- end -->`; the rest
of the document is written by hand. With `--check` nothing is written; the exit status is 1 when something differs.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.settings.settings_table import describe_settings
from agent_runner.status.failures import FAILURES
from agent_runner.status.log_events import CONTEXT_FIELDS, LOG_EVENTS
from agent_runner.status.phases import TERMINAL_PHASES, TRANSITIONS, Phase, Step
from agent_runner.status.requests.model_failures import FALLBACKS
from agent_runner.status.timeouts import CALLER_TIMEOUTS, TIMEOUT_CODES, Timeouts, TimeoutType
from docs.typescript import event_types

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

CLOCKS: dict[TimeoutType, tuple[str, str, str]] = {
    TimeoutType.THREAD_WAIT: ("thread_wait_s", "create, behind another execution", "its turn in the session"),
    TimeoutType.SCHEDULE_TO_START: ("schedule_to_start_s", "the step's message is published", "begin or claim"),
    TimeoutType.ENSURE_THREAD: ("ensure_thread_s", "begin", "done"),
    TimeoutType.HEARTBEAT: ("heartbeat_s", "the owner's last beat", "the next beat"),
    TimeoutType.WORKER_LOST: ("worker_lost_grace_s", "the owner's stream ended", "the owner is back"),
    TimeoutType.START_TO_CLOSE: ("start_to_close_s", "the claim", "settle"),
    TimeoutType.SCHEDULE_TO_CLOSE: ("schedule_to_close_s", "the session's turn", "settle, all attempts included"),
    TimeoutType.CANCEL: ("cancel_s", "the cancel request", "settle"),
}
"""Per timeout: the field of `Timeouts`, what starts its clock, what stops it."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    heads = list(head)
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def model_scenarios() -> str:
    """From the golden files of the whole product: what a user sees of each scenario of the models."""
    parts = []
    for file in sorted((ROOT / "tests/integration/goldens/models").glob("*.json")):
        golden = json.loads(file.read_text())
        packages = ", ".join(f"{name} {version}" for name, version in golden["packages"].items())
        rows = ((name, *_looks(seen)) for name, seen in golden["seen"].items())
        parts.append(
            f"### {file.stem}\n\nSeen with {packages}.\n\n" + table(("scenario", "ends", "what is seen", "ran"), rows)
        )
    return "\n".join(parts)


def fallbacks() -> str:
    rows = (
        (f"`{failure.value}`", row.when, "yes" if row.taken else "no", row.why) for failure, row in FALLBACKS.items()
    )
    return table(("cause", "when", "the next model is asked", "why"), rows)


def _looks(seen: dict[str, Any]) -> tuple[str, str, str]:
    told = [f"{call['name']} failed: {call['error']}" for call in seen.get("calls", ()) if "error" in call]
    told += [f"incomplete: {one['reason']} ({one['text']})" for one in [seen.get("incomplete")] if one]
    told += [f"{seen['error']} Next: {seen['next_step']}"] if "error" in seen else []
    words = " ".join(dict.fromkeys(told)).replace("\n", " ") or seen["messages"][-1]["text"]
    requests = seen["requests"]
    return seen["phase"] + (f" after {requests} requests" if requests > 1 else ""), words, str(len(seen.get("ran", ())))


def diagram() -> str:
    """The steps and their transitions; transitions between the same two steps share an arrow."""
    arrows: dict[tuple[Step, Step], list[str]] = {}
    for source in Step:
        for t in TRANSITIONS.values():
            if source in t.sources:
                arrows.setdefault((source, t.step), []).append(t.name)
    lines = ["stateDiagram-v2", f"    [*] --> {Step.WAITING.value}: create (the session is busy)"]
    lines.append(f"    [*] --> {Step.ENSURE_THREAD.value}: create (the session is free)")
    lines += [f"    {source.value} --> {step.value}: {', '.join(names)}" for (source, step), names in arrows.items()]
    lines.append(f"    {Step.SETTLED.value} --> [*]")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def transitions() -> str:
    return table(
        ("transition", "from", "to", "phase afterwards", "raises the fence"),
        (
            (
                f"`{t.name}`",
                ", ".join(f"`{step.value}`" for step in Step if step in t.sources),
                f"`{t.step.value}`",
                " or ".join(phase.name for phase in Phase if phase in t.phases)
                + (" or as before" if t.may_stay else ""),
                "yes" if t.raises_fence else "no",
            )
            for t in TRANSITIONS.values()
        ),
    )


def phases() -> str:
    return table(
        ("number", "phase", "name on the wire", "terminal"),
        ((str(p.value), p.name, f"`{p.wire_name}`", "yes" if p in TERMINAL_PHASES else "no") for p in Phase),
    )


def timeouts() -> str:
    defaults = Timeouts()
    known = {field.name for field in fields(Timeouts)}
    settings = _settings_of_timeouts()
    rows = []
    for timeout in TimeoutType:
        name, starts, stops = CLOCKS[timeout]
        assert name in known, f"{name} is no field of Timeouts"
        code = TIMEOUT_CODES[timeout]
        setting = f"`{settings[name]}`" if name in settings else "fixed"
        if name in CALLER_TIMEOUTS:
            setting += f", or `{name}` of one execution"
        rows.append(
            (
                timeout.value.replace("_", "-"),
                f"{getattr(defaults, name):g} s",
                starts,
                stops,
                f"{code.value} {code.name}",
                setting,
            )
        )
        if timeout is TimeoutType.SCHEDULE_TO_START:
            busy = f"`{settings['busy_to_start_s']}`, or `busy_to_start_s` of one execution"
            starts = "the same, while a worker of the queue is at work"
            rows.append(("busy-to-start", "as the one above", starts, stops, f"{code.value} {code.name}", busy))
    return table(("timeout", "default", "its clock starts with", "and stops with", "else", "set by"), rows)


def _settings_of_timeouts() -> dict[str, str]:
    """Field of `Timeouts`: the environment variable that sets it; found by moving each setting and looking."""
    before = Settings.model_construct().timeouts.as_dict()
    found: dict[str, str] = {}
    for row, (name, info) in zip(describe_settings(), Settings.model_fields.items(), strict=True):
        if info.annotation is float:
            moved = Settings.model_construct(None, **{name: -1.0}).timeouts.as_dict()
            # The first one, where several have a part in it.
            found = {field: row["name"] for field, value in moved.items() if value != before[field]} | found
    return found


def failures() -> str:
    overview = table(
        ("code", "category", "when", "how it is seen", "worth sending again", "another attempt"),
        (
            (
                f"[{f.code.value}](#{f.code.value.lower()}-{f.category.lower()})",
                f.category,
                f.when,
                f.detection,
                "yes" if f.retryable else "no",
                f.attempts.value,
            )
            for f in FAILURES.values()
        ),
    )
    texts = (
        f"\n### {f.code.value} {f.category}\n\n> {f.says} [{f.code.value} {f.category}]\n\nNext step: {f.next_step}\n"
        for f in FAILURES.values()
    )
    return overview + "".join(texts)


def settings() -> str:
    return table(
        ("name", "default", "meaning"),
        (
            (
                f"`{row['name']}`" + "".join(f" or `{name}`" for name in row["also"].split()),
                f"`{row['default']}`" if row["default"] else "",
                row["about"],
            )
            for row in describe_settings()
        ),
    )


def sandbox_contract() -> str:
    """From the table that the contract suite of sandboxes asks: what a command can do."""
    rows = json.loads((ROOT / "tests/unit/sandbox/contract.json").read_text())
    asked = [name for name in rows[0] if name not in ("id", "question")]
    return table(("Can a command ...", *asked), (tuple(row[name] for name in ("question", *asked)) for row in rows))


def log_context() -> str:
    return table(("field", "on which lines"), ((f"`{name}`", where) for name, where in CONTEXT_FIELDS.items()))


def log_events() -> str:
    return table(
        ("event", "level", "what the line says", "fields", "what it means"),
        (
            (
                f"`{e.name}`",
                e.level_name,
                e.text.replace("{", "*").replace("}", "*"),
                ", ".join(f"`{name}`" for name in e.fields),
                e.meaning,
            )
            for e in LOG_EVENTS.values()
        ),
    )


def env_example() -> str:
    """Every setting with its default, commented out: a copy of this file changes nothing until it is edited."""
    lines = ["# Copy to .env. The process environment wins over it. All settings: docs/guides/settings.md"]
    for row in describe_settings():
        lines += ["", f"# {row['about']}" + (f" (default: {row['default']})" if row["default"] else "")]
        lines.append(f"#{row['name']}=")
    return "\n".join(lines) + "\n"


def conversation_page() -> str:
    return f"```html\n{(ROOT / 'docs/examples/live-conversation/index.html').read_text()}```\n"


PARTS: dict[str, Callable[[], str]] = {
    "conversation-page": conversation_page,
    "diagram": diagram,
    "transitions": transitions,
    "phases": phases,
    "timeouts": timeouts,
    "failures": failures,
    "settings": settings,
    "model-scenarios": model_scenarios,
    "fallbacks": fallbacks,
    "sandbox-contract": sandbox_contract,
    "log-context": log_context,
    "log-events": log_events,
}


def generated() -> dict[Path, str]:
    """Each file that holds something generated, with the content it should have."""
    found = {ROOT / ".env.example": env_example(), ROOT / "clients/js/events.d.ts": event_types()}
    used: set[str] = set()
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text()
        used |= {match[2] for match in PART.finditer(text)}
        fresh = PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}", text)
        if PART.search(text):
            found[path] = fresh
    if missing := set(PARTS) - used:
        sys.exit(f"no document has a place for: {', '.join(sorted(missing))}")
    return found


def main() -> int:
    """Exit status 0, or with --check 1 if something differs."""
    parser = argparse.ArgumentParser(description="Writes the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="only tell whether docs/ is up to date")
    check: bool = parser.parse_args().check
    stale = {path: text for path, text in generated().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code says: run make docs\n")
        else:
            path.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
