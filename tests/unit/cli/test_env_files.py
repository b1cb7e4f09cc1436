"""`.env` holds settings and nothing for others; secrets for an execution come from the environment or a file."""

import logging
import os
from pathlib import Path

import click
import pytest

from agent_runner.app.cli.secret_options import secrets_of
from agent_runner.clients.process.env_file_lines import told_of_env_file
from agent_runner.clients.process.logs import set_up_logging
from tests.unit.cli.test_settings import load


def test_only_known_names_are_read(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a settings file of a strange folder brings for other programs stays there; the log names file and names."""
    lines = ["LOG_LEVEL=ERROR", "https_proxy=http://p:1", "LD_PRELOAD=/x.so", "PYTHONPATH=/x", "PERL5LIB=/y"]
    Path(".env").write_text("\n".join(lines))
    os.environ.pop("https_proxy", None)
    settings = load(env_file=Path(".env"))
    assert settings.log_level == "ERROR"
    assert os.environ["https_proxy"] == "http://p:1"
    assert not {"LD_PRELOAD", "PERL5LIB"} & set(os.environ)
    assert os.environ.get("PYTHONPATH") != "/x"
    before, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        set_up_logging("INFO", "text")
    finally:
        logging.getLogger().handlers[:] = before
        logging.getLogger().setLevel(level)
    said = capsys.readouterr().err
    assert str(clean_environment / ".env") in said
    assert "LD_PRELOAD, PERL5LIB, PYTHONPATH" in said
    assert "/x.so" not in said, "names only"
    assert told_of_env_file() == [], "once"


def test_secrets_by_name_and_by_file(clean_environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By themselves before a file, the environment's value for a bare name; a value on the command line warns."""
    os.environ["TOKEN"] = "from here"
    file = Path("secrets")
    file.write_text("# mine\nTOKEN=from the file\nexport OTHER='with $dollar'\nEMPTY=\n")
    assert secrets_of(["TOKEN"], [file]) == {"TOKEN": "from here", "OTHER": "with $dollar"}
    assert secrets_of([], [file])["TOKEN"] == "from the file"
    assert capsys.readouterr().err == ""
    assert secrets_of(["TOKEN=typed"]) == {"TOKEN": "typed"}
    said = capsys.readouterr().err
    assert "--env-file" in said
    assert "typed" not in said
    with pytest.raises(click.UsageError, match="NOWHERE"):
        secrets_of(["NOWHERE"])
