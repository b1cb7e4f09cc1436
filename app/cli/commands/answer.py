"""`agent-runner executions answer`: lists the open questions, or sends the answer in the form of the HTTP API."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from agent_runner.app.cli.exits import EXIT_USAGE, Failed
from agent_runner.app.cli.live_view import Terminal
from agent_runner.clients.backend.http_api import HttpApi
from agent_runner.status.questions import expected_text


def answer_on(
    server: tuple[str, str, Path | None],
    given: Sequence[str],
    session_id: str,
    by_id: Sequence[str],
    env: Mapping[str, str],
    *,
    as_json: bool,
) -> int:
    """Returns the exit code. `given`: the execution's id (not with a session), and after it the answer, if any."""
    most = 1 if session_id else 2
    if len(given) > most or (not given and not session_id):
        raise click.UsageError("give an execution's ID or --session, then at most one ANSWER (in quotes)")
    execution_id = "" if session_id else given[0]
    answer = given[-1] if len(given) == most else None
    if answer is not None and by_id:
        raise click.UsageError("give either ANSWER or --id QUESTION=JSON")
    answers = dict(map(_by_id, by_id))
    return asyncio.run(_answer(server, execution_id, session_id, answer, answers, env, as_json=as_json))


async def _answer(
    server: tuple[str, str, Path | None], execution_id: str, session_id: str, answer: str | None,
    answers: Mapping[str, Any], env: Mapping[str, str], *, as_json: bool,
) -> int:  # fmt: skip
    async with Terminal(server, as_json=as_json) as terminal:
        waits = await _who_waits(terminal.api, execution_id, session_id)
        if answer is None and not answers:
            terminal.display.close()
            _list(waits, as_json=as_json)
            return 0
        body: dict[str, Any] = {"session_id": waits["spec"]["session_id"]}
        body |= {"answers": dict(answers)} if answers else _form(answer or "")
        await terminal.create(body | ({"env": dict(env)} if env else {}))
    return terminal.code


async def _who_waits(api: HttpApi, execution_id: str, session_id: str) -> Mapping[str, Any]:
    """The execution whose questions are open. Raises Failed if nothing waits for an answer."""
    if execution_id:
        found = [await api.get(execution_id)]
    else:
        found = (await api.list(session_id=session_id, waiting=True, page_size=1, full=True)).get("entries") or []
    if not found or not found[0].get("waiting_for_input"):
        what = f"execution {execution_id}" if execution_id else f"session {session_id}"
        raise Failed(
            f"{what} does not wait for an answer",
            next_step="agent-runner executions list --waiting shows what does; a new message begins a new turn.",
        )
    one: Mapping[str, Any] = found[0]
    return one


def question_lines(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each question with its id, who asks, its options and what is expected."""
    lines = []
    for one in questions:
        place = " in ".join(str(one[name]) for name in ("node", "scope") if one.get(name))
        lines += [f"? {one['id']}" + (f" ({place})" if place else "")]
        lines += [f"  {line}" for line in str(one.get("text", "")).splitlines()]
        lines += [f"  expected: {expected_text(one)}"]
    return lines


def _list(waits: Mapping[str, Any], *, as_json: bool) -> None:
    questions = waits.get("questions") or []
    if as_json:
        click.echo(json.dumps(questions, indent=2, ensure_ascii=False))
        return
    for line in question_lines(questions):
        click.echo(line)
    if step := waits.get("next_step"):
        click.echo(f"Next step: {step}")


def _form(answer: str) -> dict[str, Any]:
    """A JSON object or list is sent as `input`, any other text as `message`."""
    if answer.lstrip()[:1] in ("{", "["):
        try:
            return {"input": json.loads(answer)}
        except ValueError:
            pass
    return {"message": answer}


def _by_id(given: str) -> tuple[str, Any]:
    name, equals, text = given.partition("=")
    if not name or not equals:
        raise Failed(f"--id {given!r} is not QUESTION=JSON", exit_code=EXIT_USAGE)
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
