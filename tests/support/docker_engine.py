"""A Docker engine, where `AGENT_RUNNER_TEST_DOCKER_HOST` names one, and roles that run in containers of our image.

The engine has to be on this machine: containers use its network, as the stack's Redis and Postgres do.
`AGENT_RUNNER_TEST_PYTHON_IMAGE` names an image to build from where `python:3.12-slim` cannot be fetched.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.stack import Process, Stack

HOST, BASE = "AGENT_RUNNER_TEST_DOCKER_HOST", "AGENT_RUNNER_TEST_PYTHON_IMAGE"
NEEDS_ENGINE = pytest.mark.skipif(
    not os.environ.get(HOST) or shutil.which("docker") is None,
    reason=f"no Docker engine: {HOST} names one (unix:///var/run/docker.sock), and the program docker is needed",
)
NOT_PASSED_ON = ("AGENT_RUNNER_DATA_DIR", "AGENT_RUNNER_WORKSPACE", "AGENT_RUNNER_PARENT_FD")
"""What a role has on the machine itself; the image has places of its own."""


def docker(*arguments: str, within_s: float = 120.0) -> str:
    """What it printed; AssertionError with its words if it failed."""
    done = ask(*arguments, within_s=within_s)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


def ask(*arguments: str, within_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"DOCKER_HOST": os.environ[HOST]}
    command = ["docker", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=within_s)


def build(folder: Path, tag: str, **arguments: str) -> None:
    """With the network of the machine, which may be the only one that reaches a package index."""
    given = [word for name, value in arguments.items() if value for word in ("--build-arg", f"{name}={value}")]
    docker("build", "--network=host", *given, "--tag", tag, str(folder), within_s=3000)


@dataclass
class Contained(Stack):
    """Its roles run in containers of `image`, without root and on a root file system that cannot be written."""

    image: str = ""
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For `docker run`, by role."""

    def container(self, process: Process) -> str:
        return f"agent-runner-test-{self.mark}-{process.log.stem}"

    @property
    def mark(self) -> str:
        return str(self.http_port)

    def start(self, role: str, *arguments: str, **extra: str) -> Process:
        passed = {
            name: value
            for name, value in self.environment(extra).items()
            if name.startswith(("AGENT_RUNNER_", "STIGMER_", "MODE", "FLOWER_")) and name not in NOT_PASSED_ON
        }
        name = f"agent-runner-test-{self.mark}-{role}-{self.spawned}"
        command = ["docker", "run", "--rm", "--init", "--name", name, "--network=host", "--read-only", "--tmpfs=/tmp"]
        command += [word for key in passed for word in ("--env", key)]
        command += [*self.options.get(role, ()), self.image, role, *arguments]
        process = self.spawn(role, command, {**extra, "DOCKER_HOST": os.environ[HOST]})
        if role == "server":
            self.server = process
        return process

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            for process in self.processes:
                ask("rm", "--force", "--volumes", self.container(process))


def own_tag(name: str) -> str:
    return f"agent-runner-test/{name}:{uuid.uuid4().hex[:8]}"
