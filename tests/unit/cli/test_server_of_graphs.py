"""`auth` and `http` of langgraph.json: what is kept to, what is refused at start with its reason."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.settings.server_of_graphs import GROUPS, REFUSED, ServerOfGraphs, server_of_graphs
from agent_runner.clients.settings.settings import SettingsError, load_settings


def written(folder: Path, **entries: Any) -> Path:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"chat": "./chat.py:graph"}, **entries}))
    return file


ASKING: dict[str, dict[str, Any]] = {
    "auth": {"auth": {"path": "./auth.py:auth"}},
    "http.app": {"http": {"app": "./web.py:app"}},
    "http.mount_prefix": {"http": {"mount_prefix": "/api"}},
    "http.configurable_headers": {"http": {"configurable_headers": {"includes": ["x-user-*"]}}},
    "http.disable_meta": {"http": {"disable_meta": True}},
    "http.cors.allow_credentials": {
        "http": {"cors": {"allow_origins": ["https://a.example"], "allow_credentials": True}}
    },
}


def test_every_refusal_has_a_case() -> None:
    """The table of refusals and that of these tests name the same entries."""
    assert set(ASKING) == set(REFUSED)


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.parametrize("role", ["server", "dev"])
def test_what_cannot_be_kept_to_is_refused_at_start(clean_environment: Path, role: Any, name: str) -> None:
    """With the entry, the reason, what to do instead, and the setting that starts without it, which then does."""
    written(clean_environment, **ASKING[name])
    with pytest.raises(SettingsError) as caught:
        load_settings(role)
    (problem,) = caught.value.problems
    assert f"`{name}`" in problem
    assert REFUSED[name].why in problem
    assert REFUSED[name].instead in problem
    os.environ["AGENT_RUNNER_GRAPHS_WITHOUT"] = f"{name}, http.app"
    assert load_settings(role).server_of_graphs.problems == ()


def test_workers_read_their_graphs_all_the_same(clean_environment: Path) -> None:
    """What the server refuses is nothing that a worker would run."""
    written(clean_environment, **ASKING["auth"])
    load_settings("worker")


def test_an_entry_that_nobody_knows_is_refused(clean_environment: Path) -> None:
    """A misspelt name would start nothing without what it should."""
    os.environ["AGENT_RUNNER_GRAPHS_WITHOUT"] = "http.application"
    with pytest.raises(SettingsError, match=r"AGENT_RUNNER_GRAPHS_WITHOUT must be names of auth, http\.app"):
        load_settings("server")


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"auth": {"disable_studio_auth": True}},
        {"http": {"disable_mcp": True, "disable_a2a": True, "disable_ui": True}},
        {"http": {"configurable_headers": {"excludes": ["x-*"]}, "logging_headers": {"includes": ["x-*"]}}},
        {"http": {"middleware_order": "auth_first", "mount_prefix": "/", "cors": None}},
    ],
)
def test_what_changes_nothing_here(tmp_path: Path, entries: dict[str, Any]) -> None:
    """Entries that ask for what is so in any case."""
    assert server_of_graphs(written(tmp_path, **entries)) == ServerOfGraphs()


def test_what_is_kept_to(tmp_path: Path) -> None:
    """Origins, headers that pages may read, the age of preflights, groups of routes."""
    cors = {"allow_origins": ["https://a.example"], "expose_headers": ["X-Own"], "max_age": 5}
    hidden = {f"disable_{name}": True for name in GROUPS}
    assert server_of_graphs(written(tmp_path, http={"cors": cors, **hidden})) == ServerOfGraphs(
        origins=("https://a.example",), shown_headers=("X-Own",), max_age_s=5, hidden=frozenset(GROUPS)
    )
    only_a_pattern = server_of_graphs(
        written(tmp_path, http={"cors": {"allow_origin_regex": "https://.*[.]a[.]example"}})
    )
    assert (only_a_pattern.origins, only_a_pattern.origin_regex) == ((), "https://.*[.]a[.]example")


@pytest.mark.parametrize(
    ("http", "says"),
    [
        ([], "`http` must be an object"),
        ({"cors": []}, "`http.cors` must be an object"),
        ({"cors": {"allow_origins": "https://a.example"}}, "`http.cors.allow_origins` must be a list of texts"),
        ({"cors": {"expose_headers": [1]}}, "`http.cors.expose_headers` must be a list of texts"),
        ({"cors": {"allow_origin_regex": "("}}, "`http.cors.allow_origin_regex` is no regular expression"),
        ({"cors": {"max_age": -1}}, "`http.cors.max_age` must be a number of seconds"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, http: Any, says: str) -> None:
    """The entry and what belongs there; nothing of it is half kept to."""
    asked = server_of_graphs(written(tmp_path, http=http))
    assert [says in problem for problem in asked.problems] == [True]
    assert asked == ServerOfGraphs(problems=asked.problems)


UNREADABLE: dict[bytes, str] = {
    b"": "it is empty",
    b" \n": "it is empty",
    b"{": "it is not JSON: Expecting property name",
    b"[]": "it is a JSON list, not an object",
    b"null": "it is a JSON null, not an object",
    b'"x"': "it is a JSON text, not an object",
    b"\xff\xfe": "it is not UTF-8 text",
    b"[" * 10_000: "it is nested too deeply",
}


@pytest.mark.parametrize("role", ["server", "dev", "worker"])
def test_a_file_that_cannot_be_read_is_refused_at_start(clean_environment: Path, role: Any) -> None:
    """Once, with the file, what is wrong and what to do: nobody knows which protection it asks for."""
    file = clean_environment / "langgraph.json"
    for content, wrong in UNREADABLE.items():
        file.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            load_settings(role)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{file} cannot be read: {wrong}")
        assert "Mend the file" in problem
        assert "AGENT_RUNNER_GRAPHS" in problem
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match="Is a directory"):
        load_settings(role)


@pytest.mark.parametrize("role", ["orchestrator", "client"])
def test_who_needs_no_graphs_does_not_mind_the_file(clean_environment: Path, role: Any) -> None:
    """It is read by servers and workers only."""
    (clean_environment / "langgraph.json").write_text("{")
    load_settings(role)


@pytest.mark.parametrize("document", [{}, {"graphs": {}}, {"graphs": ["x"]}, {"graphs": {"a": "./gone.py:graph"}}])
def test_a_file_without_graphs_stops_nobody(clean_environment: Path, document: dict[str, Any]) -> None:
    """Agents need none. `doctor` and a run that names a graph say what is wrong."""
    (clean_environment / "langgraph.json").write_text(json.dumps(document))
    for role in ("server", "worker"):
        load_settings(role)


def test_a_file_that_is_missing_asks_nothing(tmp_path: Path) -> None:
    """Agents need none."""
    assert server_of_graphs(tmp_path / "langgraph.json") == ServerOfGraphs()
