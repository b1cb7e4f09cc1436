"""Async sub-agents of deepagents: an agent gives a task to another one over the Agent Server API, and goes on."""

import json
import re
from typing import Any

from agent_runner.app.server.agent_server.uuids import session_of
from tests.agent_server.test_runs import ended, new_thread
from tests.integration.stack import KEY, Stack

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_a_task_is_given_checked_followed_up_and_listed(client: Any, served: Stack) -> None:
    """The task is a thread of its own that names its parent; each of its runs is an execution."""
    thread = await new_thread(client)
    place = {"configurable": {"url": f"http://127.0.0.1:{served.http_port}", "key": KEY}}

    async def told(tool: str, **args: Any) -> str:
        """What the tool returned, as the boss repeats it."""
        given = {"messages": [{"role": "human", "content": f"call {tool} {json.dumps(args)}"}]}
        state = await client.runs.wait(thread, "boss", input=given, config=place)
        return next(str(one["content"]) for one in reversed(state["messages"]) if one["type"] == "tool")

    async def at_its_end(task: str) -> str:
        newest = (await client.runs.list(task, limit=1))[0]
        return await ended(client, task, newest["run_id"])

    launched = await told("start_async_task", description="say hello", subagent_type="far")
    found = UUID.search(launched)
    assert found, launched
    task = found[0]
    assert await at_its_end(task) == "success"
    said = await told("check_async_task", task_id=task)
    assert said.startswith("{"), said
    checked = json.loads(said)
    assert (checked["status"], "I heard: say hello" in str(checked["result"])) == ("success", True)
    await told("update_async_task", task_id=task, message="and goodbye")
    assert await at_its_end(task) == "success"
    assert "I heard: and goodbye" in await told("check_async_task", task_id=task)
    assert task in await told("list_async_tasks")
    (shown,) = await client.threads.search(metadata={"parent_thread_id": thread})
    assert (shown["thread_id"], shown["metadata"]["subagent_name"]) == (task, "far")
    listed = served.http.get("/v1/executions", params={"session_id": session_of(task)}).json()
    assert [one["status"]["phase"] for one in listed["entries"]] == ["EXECUTION_COMPLETED"] * 2
