"""Each kind of result, from a real server by the `mcp` package, as a model and a status can read it."""

import base64
from pathlib import Path

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.walls import Walls
from agent_runner.status.log.plain import result_text
from tests.unit.mcp.result_server import PNG, WAV
from tests.unit.mcp.world import box, pictures_of, running, stdio, text_of

SECRET = "s3cret-of-the-server"
RESULTS = "result_server.py"


async def test_each_kind_of_result(tmp_path: Path) -> None:
    """Texts are texts, a picture is a picture, a sound and a file are files in the sandbox that a line names."""
    sandbox = box(tmp_path)
    async with running(sandbox, stdio("results", RESULTS)) as (servers, tools):
        assert {"text", "picture", "sound", "link", "embedded", "structured"} <= {one.shown for one in tools}

        said = await servers.call("results", "text", {"say": "hello"})
        assert (text_of(said), said.isError) == ("hello", False)

        (picture,) = pictures_of(await servers.call("results", "picture", {}))
        assert (picture.mimeType, base64.b64decode(picture.data)) == ("image/png", PNG)

        sound = text_of(await servers.call("results", "sound", {}))
        assert sound.startswith("[a sound, audio/wav, 16 bytes: it is in /.agent-runner/mcp-")
        kept = sandbox.work_dir / sound.partition(" it is in /")[2].removesuffix("]")
        assert kept.read_bytes() == WAV

        link = text_of(await servers.call("results", "link", {}))
        assert link == "[resource: file:///notes/a.md (notes, text/markdown)]"

        embedded = text_of(await servers.call("results", "embedded", {}))
        assert "[resource: note://1]\nwhat the note says" in embedded
        assert "[blob://1, application/pdf, 9 bytes: it is in /.agent-runner/mcp-" in embedded

        structured = text_of(await servers.call("results", "structured", {}))
        assert structured.replace("\n", "").replace(" ", "") == '{"degrees":21}'

        failing = await servers.call("results", "failing", {})
        assert failing.isError
        assert "the disk is on fire" in text_of(failing)

        assert text_of(await servers.call("results", "nothing", {})) == "[the tool returned nothing]"
        unknown = await servers.call("results", "no_such_tool", {})
        assert unknown.isError


async def test_structured_content_that_no_text_repeats(tmp_path: Path) -> None:
    """It is added as a text of its own."""
    async with running(box(tmp_path), stdio("results", RESULTS)) as (servers, _):
        said = text_of(await servers.call("results", "only_structured", {}))
        assert said == 'see the structured content\n{"degrees": 22}'


async def test_a_text_that_is_too_long(tmp_path: Path) -> None:
    """It is cut in the middle, and a file of the sandbox has all of it."""
    sandbox = box(tmp_path)
    async with running(sandbox, stdio("results", RESULTS), max_bytes=1000) as (servers, _):
        said = text_of(await servers.call("results", "long_text", {"size": 50_000}))
        assert len(said) < 1200
        assert said.startswith("begin")
        assert said.endswith("end")
        assert "of 50008 bytes cut here; all of it is in /.agent-runner/mcp-" in said
        (kept,) = (sandbox.work_dir / ".agent-runner").glob("mcp-*.txt")
        assert kept.stat().st_size == 50_008


async def test_a_server_sees_what_its_definition_names_and_nothing_else(
    tmp_path: Path, walls: Walls | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the worker's environment nor the rest of the run's; a secret of it is masked."""
    monkeypatch.setenv("OPERATORS_KEY", "operator-key-1234")
    mask = Mask([SECRET])
    sandbox = box(tmp_path, walls, mask, RUNS_OWN="not for servers")
    server = stdio("results", RESULTS, env={"API_KEY": SECRET, "PLAIN": "as it is"})
    async with running(sandbox, server, mask=mask) as (servers, _):
        told = text_of(await servers.call("results", "environment", {}))
        seen = dict(line.split("=", 1) for line in told.splitlines())
        basic = {"HOME", "LANG", "LC_CTYPE", "PATH", "PWD", "TERM", "TMPDIR"}
        assert seen.keys() - basic == {"API_KEY", "PLAIN"}
        assert (seen["API_KEY"], seen["PLAIN"]) == ("********", "as it is")


def test_a_picture_is_a_reference_in_the_status() -> None:
    """The text of a call's result names a picture; its data is not there."""
    picture = {"type": "image", "base64": "iVBORw0KGgo=" * 100, "mime_type": "image/png"}
    shown = result_text([{"type": "text", "text": "see:"}, picture], max_bytes=10_000)
    assert shown.startswith("see:\n")
    assert "image/png" in shown
    assert "iVBOR" not in shown
