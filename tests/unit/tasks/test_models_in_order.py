"""An agent's models in order, by real clients against a server that speaks their wires, in a real run of a worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from agent_runner.status.phases import Phase
from agent_runner.status.requests.model_failures import FALLBACKS, ModelFailure
from agent_runner.status.requests.model_order import ANNOTATION
from agent_runner.tasks.run.execution import execute
from tests.support.ports import free_port
from tests.unit.models_wire.scenes import ANTHROPIC, DONE, NO_REASON, OLLAMA, OPENAI, Scenario, Scene, call, one
from tests.unit.models_wire.scenes_refused import FIELDS, LIMIT, LONG, SHORT
from tests.unit.models_wire.server import WireServer, serving
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

NO_KEY = {"type": "authentication_error", "message": "invalid x-api-key"}
NO_MODEL = {"type": "not_found_error", "message": "The model does not exist"}
TOO_LONG = {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}
DOWN = {"type": "server_error", "message": "Something went wrong on our side"}
SCENARIOS: dict[str, Scenario] = {
    "good": one(DONE),
    "key": one(Scene(status=401, error=NO_KEY)),
    "unknown": one(Scene(status=404, error=NO_MODEL)),
    "limit": one(Scene(status=429, headers=LONG, error=LIMIT)),
    "down": one(Scene(status=500, headers=SHORT, error=DOWN)),
    "empty": one(Scene(silent=True)),
    "page": one(Scene(status=404, body="<html><title>Sign in</title></html>", content_type="text/html")),
    "begun": one(Scene(words="Half an answer", reason=NO_REASON)),
    "thought": one(Scene(thought="Let me see", silent=False, reason=NO_REASON)),
    "long": one(Scene(status=400, error=TOO_LONG)),
    "refused": one(Scene(status=422, body=json.dumps(FIELDS))),
    "calls": Scenario(scenes=(Scene(pieces=(call(name="write_todos", args='{"todos": []}'),)), DONE)),
    "once": Scenario(scenes=(Scene(pieces=(call(name="ls", args='{"path": "/"}'),)), Scene(status=401, error=NO_KEY))),
}


@dataclass
class World:
    server: RunnerServer
    wires: WireServer
    folder: Path
    metrics: str = ""

    async def run(self, *models: str, **given: Any) -> dict[str, Any]:
        """The end of a run whose first model is `models[0]`, and whose others stand in for it."""
        claim = self.server.claim_reply
        claim.model_name, claim.message = models[0], "go"
        claim.agent.metadata.annotations[ANNOTATION] = json.dumps(models[1:])
        if given.pop("unset", False):
            claim.agent.metadata.annotations.pop(ANNOTATION)
        keys = {"openai_api_key": "k", "openai_base_url": f"{self.wires.url}/v1", "anthropic_api_key": "k"}
        keys |= {"ollama_base_url": self.wires.url, "sandbox": "none"}
        settings = settings_of(self.server.port, self.folder, **(keys | given))
        async with runner_process(settings) as process:
            work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
            await asyncio.to_thread(work.result, 100)
            self.metrics = generate_latest(process.measures.registry).decode() if process.measures else ""
        (settled,) = self.server.settled
        return {"phase": Phase(settled.phase), "code": settled.code, **json.loads(settled.facts_json or "{}")}

    def said(self) -> list[dict[str, Any]]:
        """The metadata of the AI messages that ended."""
        return [row["metadata"] for kind, row in self.server.stored if kind == "message_end" and "metadata" in row]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.thread_id, claim.session.metadata.id = "thread-1", "ses-1"
    claim.agent.spec.instructions = "Use your tools."
    async with serving(SCENARIOS) as wires:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", wires.url)
        yield World(server, wires, tmp_path)
    await server.stop()


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        ("anthropic:key", ModelFailure.KEY_REFUSED),
        ("openai:unknown", ModelFailure.UNKNOWN_MODEL),
        ("anthropic:limit", ModelFailure.RATE_LIMITED),
        ("openai:down", ModelFailure.PROVIDER_DOWN),
        ("ollama:down", ModelFailure.PROVIDER_DOWN),
        ("openai:empty", ModelFailure.BROKE_OFF),
        ("anthropic:thought", ModelFailure.BROKE_OFF),
        ("openai:page", ModelFailure.ANSWERED_BY_ANOTHER),
    ],
)
async def test_the_next_model_answers(world: World, first: str, cause: ModelFailure) -> None:
    """COMPLETED; the message says which model was asked before and why it gave nothing."""
    second = "ollama:good" if first.startswith("openai") else "openai:good"
    assert FALLBACKS[cause].taken
    end = await world.run(first, second)
    assert (end["phase"], world.server.text()) == (Phase.COMPLETED, "All is done.")
    (told,) = world.said()
    assert told["fell_back_from"] == [{"model": first, "cause": cause.value}]
    assert world.wires.asked["good"] == 1


async def test_a_model_without_a_key_is_passed_over(world: World) -> None:
    """The first provider has no key on this worker, the second is unreachable, the third answers."""
    end = await world.run("openai:good", "ollama:good", "anthropic:good", openai_api_key="", openai_base_url="",
                          ollama_base_url="http://127.0.0.1:9")  # fmt: skip
    assert end["phase"] is Phase.COMPLETED
    causes = [(one["model"], one["cause"]) for one in world.said()[0]["fell_back_from"]]
    assert causes == [("openai:good", "not_configured"), ("ollama:good", "unreachable")]


@pytest.mark.parametrize(
    ("first", "cause", "words"),
    [
        ("openai:long", ModelFailure.TOO_LONG, "the conversation is too long"),
        ("openai:refused", ModelFailure.REQUEST_REFUSED, "the model provider refused the request"),
    ],
)
async def test_no_other_model_is_asked(world: World, first: str, cause: ModelFailure, words: str) -> None:
    """After causes that the table excepts, the first model's error is the end."""
    assert not FALLBACKS[cause].taken
    end = await world.run(first, "anthropic:good")
    assert (end["phase"], end["code"]) == (Phase.FAILED, "E301")
    assert end["original_error"].startswith(words)
    assert not world.wires.asked["good"]


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC, OLLAMA])
async def test_after_the_first_word_no_other_is_asked(world: World, wire: str) -> None:
    """Half an answer was told: it is kept, and the run ends with the reason."""
    end = await world.run(f"{wire}:begun", f"{OPENAI if wire != OPENAI else OLLAMA}:good")
    assert (end["phase"], end["code"]) == (Phase.FAILED, "E301")
    assert "broke off" in end["original_error"]
    assert world.server.text().strip() == "Half an answer"
    assert not world.wires.asked["good"]


@pytest.mark.promise("6.01")
async def test_all_fail(world: World) -> None:
    """E301 with the cause and the next step of each; it may be tried again, as one of the causes passes by itself."""
    end = await world.run("anthropic:key", "openai:limit", "ollama:unknown", worker_metrics_port=free_port())
    assert (end["phase"], end["code"]) == (Phase.FAILED, "E301")
    assert end["original_error"].startswith(
        "none of 3 models answered: anthropic:key: the model provider refused the API key"
    )
    for words in ("openai:limit: the model provider's rate limit", "ollama:unknown: the model provider does not know"):
        assert words in end["original_error"]
    assert "anthropic:key: Set a valid" in end["advice"]
    assert (end["transient"], end["retry_after_s"]) == (True, 180)
    for cause in ("key_refused", "rate_limited", "unknown_model"):
        assert f'agent_runner_worker_models_failed_total{{cause="{cause}"}} 1.0' in world.metrics


@pytest.mark.promise("6.01")
async def test_the_run_stays_with_the_model_that_answered(world: World) -> None:
    """The first model is not asked again for each step."""
    end = await world.run("anthropic:key", "openai:calls")
    assert end["phase"] is Phase.COMPLETED
    assert (world.wires.asked["key"], world.wires.asked["calls"]) == (1, 2)
    assert [one["fell_back_from"][0]["model"] for one in world.said()] == ["anthropic:key", "anthropic:key"]


async def test_a_model_that_fails_later(world: World) -> None:
    """The second step's model is refused: the third step goes on with the next one, from the same conversation."""
    end = await world.run("openai:once", "anthropic:good")
    assert end["phase"] is Phase.COMPLETED
    first, second = world.said()
    assert "fell_back_from" not in first
    assert second["fell_back_from"] == [{"model": "openai:once", "cause": "key_refused"}]


async def test_the_setting(world: World) -> None:
    """Without an annotation the worker's own list counts."""
    end = await world.run("anthropic:key", unset=True, fallback_models="openai:down, ollama:good")
    assert end["phase"] is Phase.COMPLETED
    assert [one["model"] for one in world.said()[0]["fell_back_from"]] == ["anthropic:key", "openai:down"]


async def test_an_empty_list_takes_it_away(world: World) -> None:
    """An execution may ask for its one model and no other."""
    end = await world.run("anthropic:key", fallback_models="ollama:good")
    assert (end["phase"], end["code"]) == (Phase.FAILED, "E301")
    assert end["original_error"].startswith("the model provider refused the API key")
