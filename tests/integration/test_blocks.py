"""Code blocks of the guides that are done on a running stack, as they stand: commands, requests, resources, settings.

A block is named by its file and its first line. What a guide leaves open (`ID`, `...`, an address) is filled in by what
the stack has. `unit/project/test_code_blocks.py` counts what neither this nor another test does.
"""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_runner.clients.settings.settings import Role, load_settings
from agent_runner.clients.web.webhook_address import signature
from agent_runner.status.requests.retries import policy_of
from checks.tree import ROOT
from tests.integration.guides import Reader
from tests.integration.stack import KEY, Stack
from tests.support.code_blocks import Block, one_block

COMMANDS = {
    "README.md": ["curl -N http"],
    "docs/guides/deploying.md": ["agent-runner keys create --name workers --scope runner"],
    "docs/guides/fairness.md": ["agent-runner run --priority"],
    "docs/guides/operating.md": ["agent-runner doctor", "agent-runner retention --dry-run"],
    "docs/guides/retries.md": ["agent-runner run --attempts", "curl -H"],
    "docs/guides/schedules.md": ["agent-runner schedules create", "curl -s localhost"],
    "docs/guides/secrets.md": ["api=http"],
    "docs/guides/security.md": ['agent-runner keys create --name "web', 'agent-runner keys create --name "workers'],
    "docs/guides/skills.md": ["$ (cd invoices"],
    "docs/guides/troubleshooting.md": ["agent-runner doctor"],
}
"""By document, the beginnings of blocks that are typed into a shell on a stack with a worker."""
SETTINGS: dict[str, dict[str, Role]] = {
    "docs/guides/compatible-reporting.md": {"AGENT_RUNNER_REPORTING=": "worker"},
    "docs/guides/costs.md": {"export AGENT_RUNNER_PRICES": "worker"},
    "docs/guides/deploying.md": {"export MODE=production": "server", "export AGENT_RUNNER_BROKER_URL=amqp": "server"},
    "docs/guides/fairness.md": {
        "AGENT_RUNNER_QUEUE_PUBLISHED_MAX=": "server",
        "export AGENT_RUNNER_ORG_BUDGETS=": "server",
    },
    "docs/guides/sandbox.md": {"export AGENT_RUNNER_SANDBOX_NETWORK=": "worker"},
    "docs/guides/webhooks.md": {"AGENT_RUNNER_WEBHOOK_URL=": "server"},
    "docs/guides/security.md": {"export AGENT_RUNNER_TLS_CERT": "server", "export STIGMER_BACKEND_ENDPOINT": "worker"},
}
"""Blocks of nothing but settings, and a role that takes them."""
OTHERS = {
    "docs/guides/agent-server.md": ["from langgraph_sdk"],
    "docs/guides/agent-server-runs.md": ["from langgraph_sdk"],
    "docs/guides/compatible-reporting.md": ["async with ContractClients"],
    "docs/guides/mcp.md": ["# agent.yaml"],
    "docs/guides/secrets.md": ["api_version:"],
    "docs/guides/models.md": ["metadata:"],
    "docs/guides/operating.md": ["annotations:", "upstream agent_runner"],
    "docs/guides/retries.md": ["metadata:"],
    "docs/guides/sandbox.md": ['{"metadata"'],
    "docs/guides/skills.md": ["spec:"],
    "docs/guides/pictures-and-files.md": ['{"message"', '{"type": "MESSAGE_HUMAN"'],
    "docs/guides/metrics.md": ["scrape_configs:"],
    "docs/guides/deploying.md": ["security_opt:"],
    "docs/guides/kubernetes.md": ["apiVersion: kustomize"],
    "docs/guides/webhooks.md": ["import hashlib"],
}
DONE = {
    document: [begin for table in (COMMANDS, SETTINGS, OTHERS) for begin in table.get(document, ())]
    for document in {*COMMANDS, *SETTINGS, *OTHERS}
}
OPEN = {"sch": r"\bsch-[0-9a-z]{26}\b", "key": r"\bark_([0-9a-z]+)_"}


class User(Reader):
    """Somebody at a shell beside a stack."""

    base: str = ""

    def does(self, block: Block) -> str:
        text = block.typed
        for shown in ("http://127.0.0.1:8080", "http://localhost:8080", "http://HOST:8080"):
            text = text.replace(shown, self.base)
        text = re.sub(r"(?<![/\w])localhost:8080", self.base, text)
        parts = re.split(r"^(?=.*\bID\b)", text, flags=re.MULTILINE)  # what comes before shows the id
        return "".join(self.runs(self.with_id(part)) for part in parts if part.strip())

    def with_id(self, text: str) -> str:
        if not re.search(r"\bID\b", text):
            return text
        kind = OPEN["key" if " keys " in text else "sch"]
        seen = re.findall(kind, "\n".join(self.said))
        assert seen, f"nothing has shown an id for {text}"
        return re.sub(r"\bID\b", seen[-1], text)


@pytest.fixture
def user(shared: Stack, tmp_path: Path) -> User:
    """With the folder of a stack of `dev`: its key lies there."""
    (tmp_path / ".agent-runner").mkdir()
    (tmp_path / ".agent-runner" / "api.key").write_text(KEY)
    (tmp_path / "invoices").mkdir()
    (tmp_path / "invoices" / "SKILL.md").write_text("---\nname: Invoices\ndescription: d\n---\nAdd them up.\n")
    own = {name: value for name, value in shared.environment().items() if name.startswith(("AGENT_", "STIGMER_"))}
    address = str(shared.http.base_url)
    reader = User(tmp_path, own | {"AGENT_RUNNER_HTTP_URL": address, "KEY": KEY, "AGENT_RUNNER_CONCURRENCY": "5"})
    reader.base = address.rstrip("/")
    return reader


def pairs(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(doc, begin, id=f"{doc}: {begin[:40]}") for doc, begins in table.items() for begin in begins]


def shown(document: str, number: int = 0) -> Block:
    return one_block(document, OTHERS[document][number])


BEFORE: dict[str, Callable[[Stack], object]] = {
    "docs/guides/schedules.md": lambda stack: writer(stack),
    "docs/guides/troubleshooting.md": lambda stack: stack.wait_for(stack.create("hello")["metadata"]["id"]),
    "docs/guides/secrets.md": lambda stack: with_environment(stack),
}


def with_environment(stack: Stack) -> None:
    """Another test of this page may have made it."""
    answer = stack.http.post("/v1/environments", json=environment())
    assert answer.status_code in (201, 409), answer.text


def writer(stack: Stack) -> None:
    metadata = {"name": "writer", "owner_scope": "organization"}
    body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata}
    made = stack.http.post("/v1/agents", json={**body, "spec": {"instructions": "Write the report of the day."}})
    assert made.status_code in (201, 409), made.text


def environment() -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load(shown("docs/guides/secrets.md").text)
    return body


@pytest.mark.parametrize(("document", "beginning"), pairs(COMMANDS))
def test_what_is_typed(document: str, beginning: str, user: User, shared: Stack) -> None:
    """Each command ends with 0, and no answer is a refusal."""
    done = BEFORE[document](shared) if document in BEFORE else None
    if isinstance(done, dict):
        user.said.append(done["metadata"]["id"])
    said = user.does(one_block(document, beginning))
    assert '"code":' not in said.replace(" ", "").replace('"code":""', "").replace('"code":null', ""), said
    for id in re.findall(r"\baex-[0-9a-z]{26}\b", said):
        shared.wait_for(id)


@pytest.mark.parametrize(("document", "beginning"), pairs(SETTINGS))
def test_settings_as_shown(document: str, beginning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell takes the lines, and the role takes what they set; no name among them is unknown."""
    strong = "0123456789abcdef" * 2
    text = one_block(document, beginning).text.replace("=...", f"={strong}").replace("//...", "//127.0.0.1/x")
    for name in ("server.pem", "server.key", "ca.pem"):
        (tmp_path / name).write_text("")
    text = text.replace("/etc/agent-runner", str(tmp_path))
    show = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    shell = ["bash", "-euac", f"{text}\n{show}"]
    done = subprocess.run(shell, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    set_here = {name: value for name, value in json.loads(done.stdout).items() if name in text}
    assert set_here
    for name in [one for one in os.environ if one.startswith(("AGENT_RUNNER_", "STIGMER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for name, value in set_here.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(SETTINGS[document][beginning])
    assert settings.model_fields_set


def program(*texts: str, head: str = "") -> str:
    """A module that does these one after the other; they may await."""
    body = textwrap.indent("\n".join(texts), "    ")
    return f"import asyncio\n{head}\nasync def main():\n{body}\nasyncio.run(main())\n"


def test_what_langgraphs_client_does(shared: Stack, user: User) -> None:
    """Both blocks of Python, one after the other, beside the folder with the key."""
    texts = [shown(f"docs/guides/{name}.md").text for name in ("agent-server", "agent-server-runs")]
    (user.place / "program.py").write_text(program(*texts).replace("http://127.0.0.1:8080", str(shared.http.base_url)))
    said = user.runs("python program.py")
    assert "values {" in said
    assert "hello" in said


def test_the_contract_from_python(shared: Stack, user: User) -> None:
    """As shown, with the imports and the id that it leaves open."""
    block = shown("docs/guides/compatible-reporting.md")
    id = shared.wait_for(shared.create("hello")["metadata"]["id"])["metadata"]["id"]
    head = (
        "from agent_runner.clients.contract.clients import ContractClients\n"
        "from agent_runner.clients.settings.settings import load_settings\n"
        f"execution_id = {id!r}\n"
    )
    (user.place / "program.py").write_text(program(block.text, head=head))
    assert user.runs("python program.py").strip()


@pytest.mark.parametrize("document", ["docs/guides/mcp.md", "docs/guides/secrets.md"])
def test_resources_as_shown(document: str, shared: Stack, user: User) -> None:
    """`apply` takes the file."""
    (user.place / "shown.yaml").write_text(shown(document).text)
    assert "hunter2" not in user.runs("agent-runner apply -f shown.yaml")


def test_parts_of_resources_as_shown(shared: Stack) -> None:
    """The annotations and the skill of an agent, each in a whole resource: the server takes them."""
    for number, name in enumerate(("models", "operating", "retries", "sandbox", "skills")):
        document = f"docs/guides/{name}.md"
        part = yaml.safe_load(shown(document).text)
        given = part.get("metadata", part if "annotations" in part else {})
        body = {
            "api_version": "agentic.stigmer.ai/v1",
            "kind": "Agent",
            "metadata": {"name": f"Shown {number}", "owner_scope": "organization", **given},
            "spec": {"instructions": "Do what you are told.", **part.get("spec", {})},
        }
        made = shared.http.post("/v1/agents", json=body)
        assert made.status_code == 201, (document, made.text)
        if document.endswith("retries.md"):
            assert policy_of(made.json()["metadata"]["annotations"], {}).maximum_attempts == 3


def test_a_picture_as_shown(shared: Stack) -> None:
    """The message is taken, with a whole picture in place of its beginning; the row has the fields that are shown."""
    sent, kept = shown("docs/guides/pictures-and-files.md"), shown("docs/guides/pictures-and-files.md", 1)
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    made = shared.http.post("/v1/executions", json=json.loads(sent.text.replace("iVBORw0KGgo...", png)))
    assert made.status_code == 201, made.text
    done = shared.wait_for(made.json()["metadata"]["id"])
    (said,) = [one for one in done["status"]["messages"] if one["type"] == "MESSAGE_HUMAN"]
    row = json.loads(kept.text)
    assert row.keys() <= said.keys()
    assert row["metadata"]["attachments"][0].keys() - {"name"} <= said["metadata"]["attachments"][0].keys()


def test_a_receiver_of_webhooks() -> None:
    """Its check takes what a server signs, and nothing else."""
    names: dict[str, Any] = {}
    exec(compile(shown("docs/guides/webhooks.md").text, "webhooks.md", "exec"), names)
    now = int(time.time())
    for secret, at, genuine in (("ours", now, True), ("theirs", now, False), ("ours", now - 3600, False)):
        assert names["is_genuine"]("ours", signature(secret, b"{}", at), b"{}") is genuine


def test_the_scrape_configuration(tmp_path: Path) -> None:
    """Prometheus' own program takes it, with the rules that it names."""
    block = shown("docs/guides/metrics.md")
    (tmp_path / "prometheus.yml").write_text(block.text)
    (tmp_path / "alerts.yml").write_text((ROOT / "deploy/prometheus/alerts.yml").read_text())
    try:
        checked = subprocess.run(
            ["promtool", "check", "config", "prometheus.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    assert checked.returncode == 0, checked.stderr


def test_the_options_of_a_container() -> None:
    """What the guide shows is what the Compose file has."""
    block = shown("docs/guides/deploying.md")
    worker = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    assert yaml.safe_load(block.text)["security_opt"] == worker["security_opt"]


def test_a_kustomization_of_ones_own() -> None:
    """Its folders are those of the repository, and its image is one that the manifests name."""
    own = yaml.safe_load(shown("docs/guides/kubernetes.md").text)
    for folder in [*own["resources"], *own["components"]]:
        assert (ROOT / folder.removeprefix("agent-runner/") / "kustomization.yaml").exists(), folder
    manifests = "\n".join(path.read_text() for path in (ROOT / "deploy/kubernetes/base").glob("*.yaml"))
    assert all(f"image: {image['name']}" in manifests for image in own["images"])
