"""What of Daytona sandboxes needs no SDK: its absence, settings, and the command's part of a log."""

import random
import sys
from typing import Any

import pytest
from pydantic import SecretStr

from agent_runner.clients.sandbox.daytona.kind import DaytonaKind
from agent_runner.clients.sandbox.daytona.transcript import Ended, Transcript
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.settings.settings import Settings


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "daytona", None)


@pytest.mark.usefixtures("absent")
def test_an_absent_sdk_is_said_with_what_to_install() -> None:
    """By a run, by the worker's health, and by nothing else: the module is not imported before."""
    kind = DaytonaKind(Settings(sandbox="daytona", daytona_api_key=SecretStr("dtn_k3y-of-mine")))
    health = kind.health()
    assert not health.up
    assert health.fix == "pip install 'agent-runner[daytona]'"
    with pytest.raises(SandboxError, match=r"pip install 'agent-runner\[daytona\]'") as told:
        kind.open(SandboxRequest(name="ses-1"))
    assert "dtn_" not in f"{told.value} {health} {kind.settings!r}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"daytona_cpu": 2}, "AGENT_RUNNER_DAYTONA_CPU need AGENT_RUNNER_DAYTONA_IMAGE"),
        ({"daytona_image": "debian:13", "daytona_snapshot": "mine"}, "are both set"),
    ],
)
def test_settings_that_do_not_go_together(given: dict[str, Any], words: str) -> None:
    """They are said at the start, with both names."""
    ((_, text),) = Settings(sandbox="local", **given).daytona_problems()
    assert words in text


@pytest.mark.parametrize("name", ["", "-a", "Acme", "a b", "x" * 40])
def test_the_installs_name_fits_into_a_sandboxes_name(name: str) -> None:
    """Else it is refused."""
    with pytest.raises(ValueError, match="small letters"):
        Settings(sandbox="local", daytona_install=name or "_")


def taken(text: str, pieces: int, seed: int, *, breaks: int = 0) -> tuple[str, int | None, bool]:
    """Give a log to a transcript in random pieces, from the beginning again after each break."""
    chance, out = random.Random(seed), bytearray()
    transcript = Transcript("1d", out.extend)
    for left in reversed(range(breaks + 1)):
        cuts = sorted(chance.sample(range(len(text) + 1), min(pieces, len(text))))
        end = chance.choice(cuts) if left else len(text)
        try:
            for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
                transcript.take(text[start : min(stop, end)] if start < end else "")
        except Ended:
            return out.decode(), transcript.exit_code, True
        transcript.again()
    transcript.finish()
    return out.decode(), transcript.exit_code, False


@pytest.mark.parametrize("seed", range(40))
def test_the_commands_part_of_a_log(seed: int) -> None:
    """However it comes in pieces and how often it breaks: what was printed, byte by byte, and the exit code."""
    said = random.Random(seed).choice(["", "a", "a\n", "\n\n", "1d", "\n1d", "\n1d \n", "1d 7", "x" * 50, "é\nß"])
    log = f"warning of the shell\n1d\n{said}\n1d 3\nlater, of a server\n"
    expected = said if "\n1d " not in said else said.partition("\n1d ")[0]
    code = 3 if "\n1d " not in said else None
    out, exit_code, ended = taken(log, 5, seed, breaks=seed % 3)
    if code is None:  # a command that prints our own words ends its output there
        assert out.startswith(expected)
        return
    assert (out, exit_code, ended) == (expected, code, True)


def test_a_log_that_ends_early() -> None:
    """All that came is the command's; before its begin it is the shell's complaint."""
    assert taken("1d\nhalf a li", 3, 1) == ("half a li", None, False)
    transcript = Transcript("1d", lambda piece: None)
    transcript.take("sh: 0: cannot open /dev/shm/run\n")
    transcript.finish()
    assert transcript.complaint == "sh: 0: cannot open /dev/shm/run"
