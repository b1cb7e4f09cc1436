"""The guide `everything-at-once.md`, done as it stands: on the demo model, and through the client of every provider."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import model_wire
from tests.integration.guides import Reader, blocks
from tests.integration.stack import KEY, Stack
from tests.integration.thinking_server import ThinkingServer

SECRET = "hush-hush"
MODELS = {
    "demo": "demo",
    "openai chat": "openai:chat-openai",
    "openai responses": "openai:gpt-5-pro",
    "anthropic": "anthropic:claude-anthropic",
    "ollama": "ollama:thinks-ollama",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("everything")
    with (
        model_wire.served({}, ThinkingServer) as server,
        Stack.open(folder, **model_wire.settings(server), AGENT_RUNNER_DEMO_TOKEN_DELAY_MS="0") as started,
    ):
        started.start_worker()
        yield started


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Reader:
    """Has written the guide's files and applied them."""
    env = {"AGENT_RUNNER_HTTP_URL": str(stack.http.base_url), "STIGMER_API_KEY": KEY}
    made = Reader(stack.witnesses.parent, env)
    files = [text for language, text in blocks("everything-at-once.md") if language != "sh"]
    assert [made.writes(text) for text in files] == ["prices.py", "clerk.yaml", "office.yaml", "desk.yaml", "work.txt"]
    return made


@pytest.mark.promise("6.42")
@pytest.mark.parametrize("model", MODELS)
def test_everything_at_once(stack: Stack, reader: Reader, model: str) -> None:
    """Each block in its order; what each call shows is what the guide says, on every model the same."""
    applied, turns = [text for language, text in blocks("everything-at-once.md") if language == "sh"]
    for text in (text for _, text in blocks("everything-at-once.md") if "name: office" in text or "name: desk" in text):
        reader.writes(
            text.replace("name: office", f"name: office {model}").replace("name: desk", f"name: desk {model}")
        )
    reader.env["MODEL"] = MODELS[model]
    reader.runs(applied)
    for line in turns.splitlines():
        reader.runs(line)
    said = "\n".join(reader.said)
    session = reader.filled_in("ses-...")
    listed = stack.http.get("/v1/executions", params={"session": session}).json()["entries"]
    answer, asked, work = (stack.get(one["metadata"]["id"]) for one in listed)
    shows(work)
    waits(asked, answer)
    whole = json.dumps([work, asked, answer]) + said
    assert SECRET not in whole
    assert not leaked(stack.folder), "the secret is in a file of the stack"


def shows(work: dict[str, Any]) -> None:
    assert work["status"]["phase"] == "EXECUTION_COMPLETED", work["status"].get("error")
    calls = work["status"]["tool_calls"]
    told = {key(call): (call["status"].removeprefix("TOOL_CALL_"), call.get("result", "")) for call in calls}
    assert "A bill has a price" in told["read_file"][1]
    assert told["price"] == ("COMPLETED", "tea costs 3")
    assert told["echo"][0] == "COMPLETED"
    assert told["echo"][1].startswith("bill EUR Kampala ********")
    assert told["half"][0] == told["print_it"][0] == "FAILED"
    assert "half a bill" in told["half"][1]
    assert "print_it is not a valid tool" in json.dumps(calls)
    assert "3 and 4 is 7" in told["adder"][1]
    assert "7 is right" in told["checker"][1]
    subs = work["status"]["sub_agent_executions"]
    assert {(sub["name"], sub["status"]) for sub in subs} == {
        ("adder", "SUB_AGENT_COMPLETED"),
        ("checker", "SUB_AGENT_COMPLETED"),
    }
    began, ended = (sorted(sub[name] for sub in subs) for name in ("started_at", "completed_at"))
    assert began[-1] < ended[0], "one after the other"
    assert len({call["component_metadata"]["metadata"]["scope"] for call in calls if scoped(call)}) == 2


def waits(asked: dict[str, Any], answer: dict[str, Any]) -> None:
    (call,) = [call for call in asked["status"]["tool_calls"] if call["name"] == "execute"]
    assert (call["status"], asked["waiting_for_input"]) == ("TOOL_CALL_PENDING", False)  # it was answered since
    (call,) = [call for call in answer["status"]["tool_calls"] if call["name"] == "execute"]
    assert call["status"] == "TOOL_CALL_COMPLETED"
    assert "pushed" in call["result"]
    assert answer["status"]["phase"] == "EXECUTION_COMPLETED"


def key(call: dict[str, Any]) -> str:
    """A name for each call of the guide."""
    args = call.get("args", {})
    if call["name"] == "task":
        return str(args["subagent_type"])
    if call["name"] == "execute":
        return "half" if "half" in args["command"] else "echo" if "$KIND" in args["command"] else args["command"]
    return str(call["name"])


def scoped(call: dict[str, Any]) -> bool:
    return "scope" in call["component_metadata"].get("metadata", {})


def leaked(folder: Path) -> list[Path]:
    """Files of the stack (database, memory, logs, Redis) that hold the secret in clear."""
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
