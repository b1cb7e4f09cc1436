"""`make run` hands over what was typed; the lock files install the same everywhere and name no place."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from checks.tree import ROOT

SAID = "import json, os, sys; print(json.dumps(sys.argv[1:]))"


def arguments(tmp_path: Path, *given: str, **environment: str) -> list[str]:
    """What `make run` calls `agent-runner` with. The command is a stand-in, so that nothing runs."""
    program = tmp_path / "agent-runner"
    program.write_text(f'#!/bin/sh\nexec python3 -c "{SAID}" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "ready").touch()
    command = ["make", "-s", "run", f"BIN={tmp_path}", f"READY={tmp_path / 'ready'}", "STALE=", *given]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    said: list[str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize(
    "message",
    [
        "$ wc -l app/*.py | sort -n | tail -3",
        "$ echo \"$HOME\" 'it' $(ls) ${X} `pwd` $$ $@ # no comment",
        "two lines\n$ one $1\n\n@reviewer check this $ ls | wc -l",
        "ends with a backslash \\",
        "-x begins with a hyphen",
    ],
)
def test_msg_survives(tmp_path: Path, message: str) -> None:
    """Quotes, dollar signs and line breaks of MSG arrive unchanged, given to make or in the environment."""
    assert arguments(tmp_path, f"MSG={message}") == ["run", "--", message]
    assert arguments(tmp_path, MSG=message) == ["run", "--", message]


def test_the_default_message_shows_what_there_is(tmp_path: Path) -> None:
    """Without MSG there are at least three commands and two sub-agents that run in parallel."""
    lines = arguments(tmp_path)[-1].splitlines()
    assert sum(line.startswith("$ ") for line in lines) >= 3
    assert re.findall(r"^@(\w+) .*\n@(\w+) ", "\n".join(lines), re.MULTILINE)


def test_what_make_starts_may_keep_its_bytecode(tmp_path: Path) -> None:
    """The variable that forbids it is not handed on: each process would compile all that it imports."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "forbidden: $PYTHONDONTWRITEBYTECODE"\n')
    program.chmod(0o755)
    (tmp_path / "ready").touch()
    command = ["make", "-s", "test", f"BIN={tmp_path}", f"READY={tmp_path / 'ready'}", "STALE="]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "forbidden: \n"


@pytest.mark.parametrize("name", [path.name for path in sorted(ROOT.glob("requirements*.lock"))])
def test_a_lock_file_names_no_place(name: str) -> None:
    """A lock file holds exact versions with hashes, and no address to download them from."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^ *-{1,2}(i|f|index|extra-index|find-links|trusted)", text, re.MULTILINE)
    unpinned = [
        line for line in re.findall(r"^[a-zA-Z0-9].*$", text, re.MULTILINE) if "==" not in line or line[-1] != "\\"
    ]
    assert unpinned == []
