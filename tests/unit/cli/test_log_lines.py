"""What a line of the log looks like, and what nothing in it can do."""

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping

import pytest

from agent_runner.status import event_logger as event_logger_module
from agent_runner.status.event_logger import Plain, bind, bound, event_logger, masked_by
from tests.support.log_lines import kept_lines

log = event_logger("tests.lines")


@pytest.fixture
def texts() -> Iterator[list[str]]:
    with kept_lines("text") as lines:
        yield lines


@pytest.fixture
def objects() -> Iterator[list[str]]:
    with kept_lines("json") as lines:
        yield lines


def test_a_lines_text_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By our formatter, from the masked fields; the record's own message is made when another handler asks for it."""
    made: list[str] = []
    make = event_logger_module.event_text

    def makes(name: str, fields: Mapping[str, Plain]) -> str:
        made.append(name)
        return make(name, fields)

    monkeypatch.setattr(event_logger_module, "event_text", makes)
    monkeypatch.setattr(logging.getLogger("tests.alone"), "propagate", False)  # pytest's own handlers ask for it
    with kept_lines("text", logger="tests.alone") as lines:
        event_logger("tests.alone").info("runs.drain", runs=1, within_s=2.0, reason="leaving")
    assert (len(lines), made) == (1, [])


def test_a_text_line_reads_from_left_to_right(texts: list[str]) -> None:
    """Level, logger, event, what it says, the fields that it does not say, and what holds for all lines here."""
    with bound(execution_id="aex-1", attempt=2):
        log.warning("rpc.unanswered", request="Settle", error=ValueError('no "way"'))
        logging.getLogger("celery.worker").info("Task %s received", "t-1")
    ours, theirs = texts
    assert ours[24:] == (
        "WARNING tests.lines: rpc.unanswered a call is not answered, trying again request=Settle"
        ' error="no \\"way\\"" execution_id=aex-1 attempt=2'
    )
    assert theirs[24:] == "INFO    celery.worker: Task t-1 received execution_id=aex-1 attempt=2"


def test_a_json_line_has_a_name_a_text_and_fields(objects: list[str]) -> None:
    """Fields are values and not texts; a library's line has no event and the same context; a traceback is a field."""
    with bound(session_id="ses-1"):
        log.info("worker.ready", worker="w@h", queue="q", slots=4, tasks="t")
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            logging.getLogger("uvicorn.error").exception("it broke")
    ours, theirs = map(json.loads, objects)
    assert ours["event"] == "worker.ready"
    assert ours["message"] == "w@h is ready: queue q, 4 slots"
    assert (ours["slots"], ours["session_id"], ours["level"], ours["logger"]) == (4, "ses-1", "INFO", "tests.lines")
    assert "event" not in theirs
    assert (theirs["message"], theirs["session_id"]) == ("it broke", "ses-1")
    assert theirs["traceback"].endswith("RuntimeError: broken")


def test_a_value_cannot_look_like_a_field_or_a_line(texts: list[str]) -> None:
    """What a server, a tool or a model says stays one value on its line: quoted, its line ends and controls shown."""
    evil = 'x execution_id=aex-2\n2026-01-01 00:00:00,000 INFO    tests: all "is" well\x1b[2J\u202e'
    log.warning("rpc.unanswered", request="Settle", error=evil)
    log.warning("sandbox.no_walls", walls=evil)
    assert all(len(line.splitlines()) == 1 for line in texts)
    assert all("\x1b" not in line and "\u202e" not in line for line in texts)
    said = texts[0].partition("error=")[2]
    assert said.startswith('"x execution_id=aex-2\\n')
    assert said.endswith('"')


def test_what_is_bound_ends_with_its_block(objects: list[str]) -> None:
    """Also what was bound further inside; a block that stands alone does not see what is around it."""
    with bound(execution_id="outer"):
        with bound(alone=True, request_id="r-1"):
            bind(org="acme", key_id="")
            log.info("server.stopping")
        log.info("server.stopping")
    log.info("server.stopping")
    found = [{k: v for k, v in json.loads(line).items() if k in ("execution_id", "request_id", "org", "key_id")}
             for line in objects]  # fmt: skip
    assert found == [{"request_id": "r-1", "org": "acme"}, {"execution_id": "outer"}, {}]


async def test_neighbours_do_not_see_each_others_fields_or_secrets(objects: list[str]) -> None:
    """Two tasks of one loop, and the threads and tasks that they start: each line has its own task's fields only."""
    both = asyncio.Barrier(2)

    async def one(name: str) -> None:
        with bound(execution_id=name), masked_by(lambda text: text.replace(f"secret-{name}", "***")):
            await both.wait()
            logging.getLogger("graph").info("in a task: secret-a secret-b")
            await asyncio.to_thread(logging.getLogger("graph").info, "in a thread: secret-a secret-b")
            await both.wait()
        logging.getLogger("graph").info("afterwards: secret-a")

    await asyncio.gather(one("a"), one("b"))
    seen = [(line.get("execution_id"), line["message"]) for line in map(json.loads, objects)]
    for where in ("in a task", "in a thread"):
        assert ("a", f"{where}: *** secret-b") in seen
        assert ("b", f"{where}: secret-a ***") in seen
    assert seen.count((None, "afterwards: secret-a")) == 2
    assert len(seen) == 6


def test_a_name_that_is_not_in_the_table_is_an_error() -> None:
    """It cannot be written, so that no line escapes the table by a name made at run time."""
    with pytest.raises(KeyError):
        log.error("no.such_event")
