"""A question in a chat, on real processes: the webhook brings it, the token in it answers, the end is told."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.stack import Stack
from tests.integration.test_answers import SOURCE, said
from tests.support.waiting import eventually
from tests.support.webhook_receiver import receiver


@pytest.mark.promise("6.07")
def test_a_webhook_asks_a_token_answers_and_the_end_is_told(tmp_path: Path) -> None:
    """From the start to the last end, without a key after the first request, and with a server that is killed while
    the receiver refuses: the call is made by the next one."""
    (tmp_path / "refunds.py").write_text(SOURCE)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"refund": "./refunds.py:refund"}}))
    settings = {
        "AGENT_RUNNER_GRAPHS": str(tmp_path / "langgraph.json"),
        "AGENT_RUNNER_WEBHOOK_PRIVATE": "1",
        "AGENT_RUNNER_WEBHOOK_SECRET": "shared",
    }
    with Stack.open(tmp_path, **settings) as stack, receiver(500, 500, 500) as (url, calls):
        stack.start_worker()

        def told(event: str, id: str) -> list[Any]:
            wanted = (event, id)
            return [one for call in calls if ((one := call.told)["event"], one["execution"]["id"]) == wanted]

        def refused() -> int:
            """Tries that are noted: none of them is under way."""
            lines = stack.http.get("/metrics").text.splitlines()
            of_failed = [
                line for line in lines if line.startswith("agent_runner_webhook_calls_total") and "failed" in line
            ]
            return int(sum(float(line.split()[-1]) for line in of_failed))

        body = {"graph": "refund", "message": "refund order 7", "webhook": {"url": url, "answer_tokens": True}}
        asked = stack.wait_for(stack.http.post("/v1/executions", json=body).json()["metadata"]["id"])
        eventually(lambda: refused() == 3, what="three calls that are refused", within_s=30)
        stack.server.child().kill()
        stack.wait_ready()
        first = asked["metadata"]["id"]
        eventually(lambda: len(calls) >= 4 and told("question", first), what="the same calls, again", within_s=120)
        assert {call.told["execution"]["id"] for call in calls} == {first}
        assert len({call.told["delivery_id"] for call in calls}) == 2
        assert all(call.is_signed_with("shared") for call in calls)
        (question,) = told("question", first)[-1]["questions"]
        with httpx.Client(base_url=str(stack.http.base_url), trust_env=False, timeout=30) as visitor:
            link = question["answer"]["url"]
            assert visitor.get(link).json()["question"]["text"] == "How much?"
            answered = visitor.post(link, json={"answer": "40"})
            assert answered.status_code == 201, answered.text
            assert visitor.post(link, json={"answer": "60"}).json()["code"] == "ANSWER_TOKEN_USED"
            second = str(answered.json()["execution_id"])
            assert said(stack.wait_for(second))[0] == "decision: 40"
            asks_again = eventually(lambda: told("question", second), what="the breakpoint's question", within_s=30)
            (stop,) = asks_again[-1]["questions"]
            last = visitor.post(stop["answer"]["url"], json={"answer": "go on"}).json()["execution_id"]
        assert said(stack.wait_for(last)) == ["paid"]
        (end,) = eventually(lambda: told("end", last), what="the end", within_s=30)
        assert end["phase"] == "EXECUTION_COMPLETED"
