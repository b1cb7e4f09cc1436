"""Workers need nothing but a key with the scope `runner`."""

from tests.integration.stack import Stack


def test_a_worker_with_a_runner_key(stack: Stack) -> None:
    """It runs an execution to its end, and its supervisor's report of its death is heard (E103 with the signal)."""
    made = stack.http.post("/v1/keys", json={"name": "workers", "scopes": ["runner"]}).raise_for_status().json()
    worker = stack.start_worker(STIGMER_API_KEY=made["key"])
    done = stack.wait_for(stack.create("$ echo from the runner")["metadata"]["id"])
    assert done["status"]["phase"] == "EXECUTION_COMPLETED", done["status"]
    assert "from the runner" in str(done["status"]["tool_calls"])
    id = stack.create("$ sleep 60")["metadata"]["id"]
    stack.wait_text(id, "TOOL_CALL_RUNNING")
    worker.child().kill()
    status = stack.wait_for(id)["status"]
    assert "[E103 WORKER_LOST]" in status["error"]
    assert "signal 9" in status["error"]
    (key,) = stack.http.get("/v1/keys").json()["keys"]
    assert key["last_used_at"] >= key["created_at"]
