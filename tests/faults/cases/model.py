"""F17: the model refuses, fails, breaks off, answers rubbish, or says nothing for a long time."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.fault_stack import fresh_port
from tests.faults.model_stub import ModelStub, Reply, breaks_off, calls, refuses, says, silent
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Json

QUESTION = "What is the weather like in Lisbon?"
ANSWER = "It is sunny in Lisbon today."
PARTIAL = "It is sunny in"
NO_JSON = '{"command": "echo "never""}'
"""The quotes are not escaped."""
RETRY_AFTER_S = 1


@case("F17/401")
def key_refused(scene: Scene) -> None:
    with _asked(scene, refuses(401, "Incorrect API key provided", code="invalid_api_key")) as model:
        scene.end()
        scene.evidence(len(model.asked) == 1, f"it was asked {len(model.asked)} times")


@case("F17/429")
def rate_limit(scene: Scene) -> None:
    slower = refuses(429, "Rate limit reached", {"retry-after": str(RETRY_AFTER_S)}, "rate_limit_exceeded")
    with _asked(scene, slower, says(ANSWER)) as model:
        status = scene.end()
        scene.evidence(len(model.asked) == 2, f"it was asked {len(model.asked)} times")
        waited = model.at[-1] - model.at[0]
        scene.demand(waited >= RETRY_AFTER_S, f"asked again after {waited:.2f} s, told {RETRY_AFTER_S} s")
        scene.demand(_answers(status)[-1:] == [ANSWER], f"the answer is {_answers(status)}")


@case("F17/500")
def fails_always(scene: Scene) -> None:
    with _asked(scene, refuses(500, "The server had an error")) as model:
        scene.end()
        scene.evidence(len(model.asked) >= 2, f"it was asked {len(model.asked)} times")
        scene.note(f"asked {len(model.asked)} times")


@case("F17/too-long")
def context_too_long(scene: Scene) -> None:
    words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
    with _asked(scene, refuses(400, words, code="context_length_exceeded")) as model:
        scene.end()
        scene.evidence(len(model.asked) >= 1, "it was asked")


@case("F17/malformed")
def malformed_tool_call(scene: Scene) -> None:
    """Arguments that are no JSON: the call is shown as failed, the model is told and goes on."""
    _call_fails(scene, calls("execute", NO_JSON))


@case("F17/out-of-tokens")
def tool_call_cut_off(scene: Scene) -> None:
    """The model may say no more in the middle of a call, whose half is a command too: it is not run."""
    lines = scene.stack.witnesses / "lines.txt"
    _call_fails(scene, calls("execute", f'{{"command": "echo ran >> {lines} && echo no', finish="length"))
    scene.demand(not lines.exists(), "half a command was run")


def _call_fails(scene: Scene, call: Reply) -> None:
    with _asked(scene, call, says(ANSWER)) as model:
        status = scene.end()
        scene.evidence(len(model.asked) >= 1, "it was asked")
        shown = [call for call in status["tool_calls"] if call["status"] == "TOOL_CALL_FAILED"]
        scene.demand([call["name"] for call in shown] == ["execute"], f"it is not shown: {status['tool_calls']}")
        scene.demand(all(call.get("error") for call in shown), "it is shown without its error")
        scene.demand(len(model.asked) == 2, f"the model was asked {len(model.asked)} times: it did not go on")
        told = [m for m in model.asked[-1]["messages"] if m["role"] == "tool"]
        scene.demand(told, "the model was not told that its call failed")
        scene.demand(_answers(status)[-1:] == [ANSWER], f"the answer is {_answers(status)}")


@case("F17/cut")
def cut_in_mid_stream(scene: Scene) -> None:
    with _asked(scene, breaks_off(PARTIAL, after_s=1.0), strike=False) as model:
        scene.in_flight(text=PARTIAL)
        scene.strike()
        status = scene.end()
        scene.evidence(model.cut == 1, f"the answer was cut {model.cut} times")
        scene.demand(_answers(status) == [PARTIAL], f"the partial text is not kept: {_answers(status)}")


@case("F17/silent")
def silent_for_long(scene: Scene) -> None:
    quiet_s = scene.bound("3 * heartbeat_timeout_s")
    with _asked(scene, silent(quiet_s, ANSWER)) as model:
        status = scene.end()
        lasted = (scene.roles["run"].witness.sse.ended_at or 0.0) - model.at[0]
        scene.evidence(lasted >= quiet_s, f"it was silent for {quiet_s:g} s, three heartbeats")
        scene.demand(_answers(status)[-1:] == [ANSWER], f"the answer is {_answers(status)}")


@contextmanager
def _asked(scene: Scene, *replies: Reply, strike: bool = True) -> Iterator[ModelStub]:
    """A worker whose model gives these replies, and the question on its way."""
    with ModelStub(fresh_port(), *replies) as model:
        scene.worker(**model.environment)
        scene.send(QUESTION)
        if strike:
            scene.strike(at=scene.roles["run"].struck_at)
        yield model


def _answers(status: Json) -> list[str]:
    return [m["content"].strip() for m in status["messages"] if m["type"] == "MESSAGE_AI" and m.get("content")]
