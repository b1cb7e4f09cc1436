"""`doctor` on the graphs' store: what langgraph.json asks for and what this machine and database have."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent_runner.app.cli.checks import check_store
from agent_runner.clients.settings.settings import Settings
from tests.support.databases import postgres_database
from tests.unit.engine.stores import has_pgvector


def settings(folder: Path, store: Any, url: str = "") -> Settings:
    (folder / "words.py").write_text("raise SystemExit('no code of the user runs')\n")
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"g": "./g.py:g"}, "store": store}))
    return Settings(graphs=folder / "langgraph.json", checkpoint_url=url or f"sqlite:///{folder}/checkpoints.db")


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (None, "no search by meaning"),
        ({"ttl": {"default_ttl": 30}}, "items live 30 minutes"),
        ({"index": {"embed": "openai:text-embedding-3-small", "dims": 1536}}, "with openai:text-embedding-3-small"),
        ({"index": {"embed": "./words.py:embed", "dims": 8}}, "with ./words.py:embed"),
        ({"index": {"embed": "words:embed", "dims": 8}}, "with words:embed"),
    ],
)
def test_what_is_configured_is_told(tmp_path: Path, store: Any, said: str) -> None:
    """In one line; nothing is written."""
    check = check_store(settings(tmp_path, store))
    assert (check.up, said in check.why) == (True, True), check
    assert not list(tmp_path.glob("*.db*"))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ({"ttl": {"default_ttl": "soon"}}, "store.ttl.default_ttl"),
        ({"index": {"embed": "./nowhere.py:embed", "dims": 8}}, "nowhere.py does not exist"),
        ({"index": {"embed": "nobody:model-1", "dims": 8}}, "nothing here is 'nobody:model-1'"),
    ],
)
def test_what_will_not_work_is_down_with_a_fix(tmp_path: Path, store: Any, told: str) -> None:
    """Before the first run finds it out."""
    check = check_store(settings(tmp_path, store))
    assert (check.up, check.required, told in check.why, bool(check.fix)) == (False, True, True, True), check


def test_a_postgres_without_pgvector_is_down_only_where_it_is_asked_for(tmp_path: Path) -> None:
    """With what to install."""
    with postgres_database() as url:
        index = {"index": {"embed": "words:embed", "dims": 8}}
        check = check_store(settings(tmp_path, index, url))
        assert check.up is has_pgvector(url)
        assert check.up or "no pgvector" in check.why
        assert check_store(settings(tmp_path, None, url)).up
