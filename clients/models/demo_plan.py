"""The next text and calls of the offline demo model: a pure function of the conversation (grammar in `demo.py`)."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

MAX_TODOS = 8
MAX_QUOTE = 2_000
MAX_ANSWER = 20_000
"""Characters quoted in one answer, shared between the results of hundreds of calls."""
RECALL = re.compile(
    r"what did (i|we)\b|\bremember|\brecall|i (said|told|asked)|earlier|previous(ly)? (message|said)", re.I
)

HELP = (
    "I am the offline demo model of Agent Runner: no language model is configured, so I can only do what I am told "
    "line by line. `$ COMMAND` runs a command, `> write PATH: TEXT` and `> read PATH` use files, `> call TOOL {JSON}` "
    "calls a tool by its name, `@NAME TEXT` asks a sub-agent. "
    "For a real model set ANTHROPIC_API_KEY or OPENAI_API_KEY, or start Ollama."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of work and the tool call that does it."""

    tool: str
    args: dict[str, Any]
    todo: str
    named: bool = False
    """The user named the tool, so that it is called even if there is none of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One AI message: text and the tool calls in it."""

    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools bound to the model: their names, and the sub-agents of `task`."""

    names: frozenset[str] = frozenset()
    sub_agents: tuple[str, ...] = ()


def name_and_description(tool: Any) -> tuple[str, str]:
    """The name and description of a tool, in any of the forms that langchain binds."""
    if isinstance(tool, dict):
        inner = tool.get("function", tool)
        return str(inner.get("name", "")), str(inner.get("description", ""))
    name = getattr(tool, "name", None) or getattr(tool, "__name__", "")
    return str(name), str(getattr(tool, "description", None) or "")


def bound_tools(tools: Sequence[dict[str, Any]]) -> Tools:
    """Read the tools and, in the description of `task`, the sub-agents."""
    described = [name_and_description(tool) for tool in tools]
    task = next((description for name, description in described if name == "task"), "")
    return Tools(
        names=frozenset(name for name, _ in described),
        sub_agents=tuple(re.findall(r"^- ([A-Za-z0-9_.-]+): ", task, re.M)),
    )


def next_action(messages: Sequence[BaseMessage], tools: Tools) -> Action:
    """The next text and calls: the n-th step of the plan, where n counts the AI messages since the last human one."""
    asked = max((n for n, message in enumerate(messages) if _is_human(message)), default=-1)
    text = str(messages[asked].text) if asked >= 0 else ""
    turn = messages[asked + 1 :]
    lines = _work(text, tools)
    missing = [line for line in lines if line.tool not in tools.names and not line.named]
    steps = _steps([line for line in lines if line not in missing], plans="write_todos" in tools.names)
    done = sum(isinstance(message, AIMessage) for message in turn)
    if done < len(steps):
        return steps[done]
    return Action(text=_answer(text, messages[:asked] if asked > 0 else (), turn, missing))


def _is_human(message: BaseMessage) -> bool:
    # Guard middlewares write human messages to the model that begin like this.
    return isinstance(message, HumanMessage) and not str(message.text).startswith("[System]")


def _work(text: str, tools: Tools) -> list[_Line]:
    found: list[_Line] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("$ ") and (command := line[2:].strip()):
            found.append(_Line(tool="execute", args={"command": command}, todo=f"Run `{command}`"))
        elif match := re.match(r"> write (.+?): ?(.*)$", line):
            path, content = match[1].strip(), match[2].replace("\\n", "\n")
            args = {"file_path": path, "content": content}
            found.append(_Line(tool="write_file", args=args, todo=f"Write {path}"))
        elif match := re.match(r"> read (.+)$", line):
            path = match[1].strip()
            found.append(_Line(tool="read_file", args={"file_path": path}, todo=f"Read {path}"))
        elif match := re.match(r"> call ([A-Za-z0-9_-]+) ?(\{.*\})?$", line):
            found.append(_Line(tool=match[1], args=_arguments(match[2] or "{}"), todo=f"Call {match[1]}", named=True))
        elif match := re.match(r"@([A-Za-z0-9_.-]+)[:,]?\s+(.+)$", line):
            name = _sub_agent(match[1], tools.sub_agents)
            asked = re.sub(r"(?:^|\s+)\$ ", "\n$ ", match[2]).strip()
            args = {"description": asked, "subagent_type": name}
            found.append(_Line(tool="task", args=args, todo=f"Delegate to {name}: {match[2].strip()}"))
    return found


def _arguments(given: str) -> dict[str, Any]:
    try:
        found = json.loads(given)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _sub_agent(asked: str, known: Sequence[str]) -> str:
    return next((name for name in known if name.lower() == asked.lower()), "general-purpose")


def _steps(lines: list[_Line], *, plans: bool) -> list[Action]:
    """The plan, then one message per command or file and one per group of delegations."""
    if not lines:
        return []
    size = math.ceil(len(lines) / MAX_TODOS)
    groups = [lines[start : start + size] for start in range(0, len(lines), size)]
    todos = [_todo(group) for group in groups] + ["Answer from the results"]
    group_of = {id(line): n for n, group in enumerate(groups) for line in group}

    together: list[list[_Line]] = []
    for line in lines:
        if line.tool == "task" and together and together[-1][0].tool == "task":
            together[-1].append(line)
        else:
            together.append([line])

    steps: list[Action] = []
    shown = 0
    if plans:
        count = f"{len(lines)} line{'s' if len(lines) > 1 else ''} of work"
        steps.append(
            Action(text=f"Offline demo model: I found {count} and plan them first.", calls=(_todos(todos, 0, 0),))
        )
    for batch in together:
        first, last = group_of[id(batch[0])], group_of[id(batch[-1])]
        calls = tuple((line.tool, line.args) for line in batch)
        if plans and last > shown:
            calls = (_todos(todos, first, last), *calls)
            shown = last
        steps.append(Action(text=_saying(batch), calls=calls))
    if plans:
        steps.append(Action(text="The work is done; now the answer.", calls=(_todos(todos, len(todos), len(todos)),)))
    return steps


def _todo(group: list[_Line]) -> str:
    if len(group) == 1:
        return _short(group[0].todo, 100)
    return f"{len(group)} steps: {_short(group[0].todo, 60)} ... {_short(group[-1].todo, 60)}"


def _todos(contents: list[str], first: int, last: int) -> tuple[str, dict[str, Any]]:
    def status(n: int) -> str:
        return "completed" if n < first else "in_progress" if n <= last else "pending"

    return "write_todos", {"todos": [{"content": text, "status": status(n)} for n, text in enumerate(contents)]}


def _saying(batch: list[_Line]) -> str:
    if batch[0].tool == "task":
        names = ", ".join(str(line.args["subagent_type"]) for line in batch)
        return f"Delegating to {names}{' in parallel' if len(batch) > 1 else ''}."
    return f"{_short(batch[0].todo, 200)}."


def _answer(text: str, before: Sequence[BaseMessage], turn: Sequence[BaseMessage], missing: Sequence[_Line]) -> str:
    results = {message.tool_call_id: message for message in turn if isinstance(message, ToolMessage)}
    calls = [call for message in turn if isinstance(message, AIMessage) for call in message.tool_calls]
    work = [call for call in calls if call["name"] != "write_todos"]
    limit = max(MAX_ANSWER // max(len(work), 1), 80)
    parts = [_report(call["name"], call["args"], results.get(call["id"] or ""), min(limit, MAX_QUOTE)) for call in work]
    parts += [f"I could not do this: {_short(line.todo, 200)}. I have no `{line.tool}` tool here." for line in missing]
    earlier = [str(message.text) for message in before if _is_human(message)]
    if RECALL.search(text):
        said = "\n".join(f"{n}. {_short(one, MAX_QUOTE)}" for n, one in enumerate(earlier, 1))
        parts.append(f"Earlier in this conversation you said:\n{said}" if earlier else "You said nothing before this.")
    if not parts:
        prose = _short(" ".join(text.split()), 200)
        parts.append(f'You said "{prose}" and gave me no line of work.\n\n{HELP}' if prose else HELP)
        if earlier:
            parts.append(f"I remember {len(earlier)} earlier message{'s' if len(earlier) > 1 else ''} of yours.")
    elif work:
        parts.insert(0, "What the tools returned (I am the offline demo model, I add nothing to it):")
    return "\n\n".join(parts)


def _report(name: str, args: dict[str, Any], result: ToolMessage | None, limit: int) -> str:
    if result is None:
        return f"{name} returned nothing."
    content = str(result.text)
    failed = result.status == "error"
    if name == "execute":
        match = re.search(r"\n?\[Command (?:succeeded|failed) with exit code (-?\d+)\]", content)
        output = (content[: match.start()] + content[match.end() :]) if match else content
        ended = f"exited {match[1]}" if match else "failed" if failed else "returned"
        return f"`{args.get('command', '')}` {ended}:\n{_quote(output, limit)}"
    if name == "task":
        did = "failed" if failed else "answered"
        return f"{args.get('subagent_type', 'a sub-agent')} {did}:\n{_quote(content, limit)}"
    if name == "read_file":
        # The tool's own header, which has the line numbers.
        content = re.sub(r"\A@@ lines .* @@\n", "", content)
    if name not in ("write_file", "read_file"):
        return f"{name} {'failed' if failed else 'returned'}:\n{_quote(content, limit)}"
    verb = {"write_file": "Writing", "read_file": "Reading"}[name]
    return f"{verb} {args.get('file_path', '')} {'failed' if failed else 'worked'}:\n{_quote(content, limit)}"


def _quote(text: str, limit: int) -> str:
    stripped = text.strip("\n")
    if not stripped.strip():
        return "> (no output)"
    return "\n".join(f"> {line}" for line in _short(stripped, limit).splitlines())


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"
