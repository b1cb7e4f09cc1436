"""Skills and environments on real processes: from a push to a command in the sandbox; what is said when one is gone."""

from typing import Any

import pytest

from tests.integration.stack import Json, Stack
from tests.unit.skills.archives import archive


def made(stack: Stack, route: str, kind: str, name: str, **spec: Any) -> Json:
    metadata = {"name": name, "owner_scope": "organization"}
    body = {"api_version": "agentic.stigmer.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
    answer = stack.http.post(f"/v1/{route}", json=body)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def session(stack: Stack) -> str:
    """An agent with a skill and variables, an instance with two environments, and a session of these."""
    data = archive({"scripts/read.sh": "#!/bin/sh\necho the script ran"})
    pushed = stack.http.post(
        "/v1/skills",
        params={"name": "Invoices", "tag": "v1"},
        content=data,
        headers={"Content-Type": "application/zip"},
    )
    assert pushed.status_code == 201, pushed.text
    refs = [{"kind": "skill", "slug": "invoices", "version": "v1"}]
    values = {name: {"value": "agent"} for name in ("A", "B", "C", "D")}
    agent = made(
        stack, "agents", "Agent", "Clerk", instructions="Read the bills.", skill_refs=refs, env_spec={"data": values}
    )
    for name, variables in (("base", ("B", "C", "D")), ("team", ("C", "D"))):
        made(stack, "environments", "Environment", name, data={v: {"value": name} for v in variables})
    environments = [{"kind": "environment", "slug": name} for name in ("base", "team")]
    instance = made(
        stack, "agent-instances", "AgentInstance", "one",
        agent_id=agent["metadata"]["id"], environment_refs=environments,
    )  # fmt: skip
    return str(made(stack, "sessions", "Session", "s", agent_instance_id=instance["metadata"]["id"])["metadata"]["id"])


@pytest.mark.promise("1.30")
@pytest.mark.promise("1.69")
def test_from_a_push_to_a_command(served: Stack) -> None:
    """The agent reads the skill where its prompt says, its commands run its script and see the layered environment."""
    at = session(served)
    message = "> read /skills/invoices/SKILL.md\n$ ./skills/invoices/scripts/read.sh\n$ echo $A $B $C $D"
    id = served.create(message, session_id=at, env={"D": "runtime"})["metadata"]["id"]
    ended = served.wait_for(id, "EXECUTION_COMPLETED")
    read, ran, printed = [call["result"] for call in ended["status"]["tool_calls"]]
    assert "# Invoices" in read
    assert ran.startswith("the script ran")
    assert printed.startswith("agent base team ********"), "the execution's own values are secrets"
    assert [path.name for path in (served.folder / "skills").iterdir()], "the archive is kept on the worker"

    served.http.delete("/v1/skills/invoices").raise_for_status()
    assert_fails(served, at, "E303", "SKILL", "invoices")
    made(served, "skills", "Skill", "Invoices", skill_md="# Invoices by text")
    assert_fails(served, at, "E303", "SKILL", "v1")


def test_an_environment_that_is_gone(served: Stack) -> None:
    """E304 before the agent starts, naming it."""
    at = session(served)
    served.http.delete("/v1/environments/team").raise_for_status()
    assert_fails(served, at, "E304", "ENVIRONMENT", "team")


def assert_fails(stack: Stack, session_id: str, code: str, category: str, named: str) -> None:
    """With that code; the text names what is gone; no tool was called."""
    id = stack.create("$ echo never", session_id=session_id)["metadata"]["id"]
    ended = stack.wait_for(id, "EXECUTION_FAILED")
    assert ended["status"]["error"].endswith(f"[{code} {category}]")
    assert named in ended["status"]["error"]
    assert not ended["status"].get("tool_calls")
    told = ended["status"]["messages"][-1]
    assert (told["type"], told["metadata"]["error_code"]) == ("MESSAGE_SYSTEM", code)
