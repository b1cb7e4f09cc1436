"""A webhook is called at the end of its run: signed, tried again, and never at an address of a private network."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.web.webhook_address import WebhookPolicy, WebhookRefused
from tests.agent_server.conftest import WEBHOOKS
from tests.agent_server.test_runs import new_thread
from tests.support.waiting import eventually
from tests.support.webhook_receiver import receiver

PRIVATE = ("http://127.0.0.1/x", "http://[::1]/", "http://localhost:80/", "https://10.1.2.3/", "http://169.254.169.254/",
           "http://[::ffff:127.0.0.1]/", "http://a.localhost/", "http://0.0.0.0/")  # fmt: skip


async def test_the_end_of_a_run_is_told(client: Any) -> None:
    """Once if it is answered; the body has the run and its values, and its signature is that of the secret."""
    with receiver() as (url, calls):
        thread = await new_thread(client)
        run = await client.runs.create(thread, "count", input={"n": 1}, webhook=url, metadata={"for": "it"})
        assert "token" not in json.dumps(run)
        await client.runs.join(thread, run["run_id"])
        eventually(lambda: calls, what="the call", within_s=40)
        told = calls[0].told
        assert (told["run_id"], told["status"], told["values"]["n"]) == (run["run_id"], "success", 4)
        assert told["metadata"]["for"] == "it"
        assert calls[0].is_signed_with(WEBHOOKS["AGENT_RUNNER_WEBHOOK_SECRET"])


async def test_a_call_that_fails_is_made_again(client: Any) -> None:
    """Until it is answered; a failed run tells its error."""
    with receiver(500) as (url, calls):
        thread = await new_thread(client)
        run = await client.runs.create(thread, "fails", input={"n": 1, "kind": "value"}, webhook=url)
        eventually(lambda: len(calls) >= 2, what="the second call", within_s=60)
        told = [call.told for call in calls]
        assert {one["run_id"] for one in told} == {run["run_id"]}
        assert (told[-1]["status"], told[-1]["error"]["message"]) == ("error", "no value")


@pytest.mark.promise("5.12")
@pytest.mark.parametrize("url", [*PRIVATE, "ftp://example.com/", "//example.com", "http://user:pw@example.com/"])
async def test_private_addresses_are_refused(url: str) -> None:
    """Before anything is sent, also by a name that leads there."""
    with pytest.raises(WebhookRefused):
        await WebhookPolicy().call(url, b"{}", "")


async def test_a_name_that_no_host_can_have() -> None:
    """It is refused like one that is not known."""
    with pytest.raises(WebhookRefused, match="not known"):
        await WebhookPolicy().call(f"https://{'x' * 64}.example.com/", b"{}", "")


def test_the_file_of_graphs_may_allow_them(tmp_path: Path) -> None:
    """As LangGraph's server reads it: the block turns https on, unless it says otherwise."""
    file = tmp_path / "langgraph.json"
    assert WebhookPolicy.of(file, private=False) == WebhookPolicy()
    file.write_text('{"webhooks": {}}')
    assert WebhookPolicy.of(file, private=False) == WebhookPolicy(https_only=True)
    file.write_text('{"webhooks": {"url": {"disable_loopback": false, "require_https": false}}}')
    assert WebhookPolicy.of(file, private=False) == WebhookPolicy(private=True)
