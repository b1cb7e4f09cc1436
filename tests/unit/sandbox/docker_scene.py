"""A sandbox in containers for the contract suite, of a real engine where `AGENT_RUNNER_TEST_DOCKER_HOST` names one.

`AGENT_RUNNER_TEST_DOCKER_IMAGE` is an image of that engine with a shell and Python.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.docker.containers import INSTALL
from agent_runner.clients.sandbox.docker.kind import DockerKind
from agent_runner.clients.sandbox.docker.sandbox import DockerSandbox
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.settings.settings import Settings
from tests.support.fake_engine import fake_engine
from tests.unit.sandbox.questions import LIMITS, SECRET, Scene

ENGINE = os.environ.get("AGENT_RUNNER_TEST_DOCKER_HOST", "")
IMAGE = os.environ.get("AGENT_RUNNER_TEST_DOCKER_IMAGE", "agent-runner-sandbox-test:1")
PROGRAM = """
import asyncio, sys
from pathlib import Path
from agent_runner.clients.sandbox.docker.kind import DockerKind
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.settings.settings import Settings
settings = Settings(data_dir=Path(sys.argv[1]), sandbox_docker_host=sys.argv[2], sandbox_docker_image=sys.argv[3])
box = DockerKind(settings).open(SandboxRequest(name=sys.argv[4]))
print(asyncio.run(box.execute(sys.argv[5])).output)
"""


@contextmanager
def some_engine(folder: Path) -> Iterator[str]:
    """The URL of the real engine, or of a fake one for this test."""
    if ENGINE:
        yield ENGINE
        return
    with fake_engine(folder) as engine:
        yield engine.url


def settings_of(folder: Path, engine: str, **more: object) -> Settings:
    given = {
        "sandbox": "docker",
        "data_dir": folder / "data",
        "workspace": folder / "mine",
        "sandbox_docker_host": engine,
        "sandbox_docker_image": IMAGE,
        "sandbox_memory_bytes": LIMITS.memory_bytes,
        "sandbox_processes": LIMITS.processes,
        "sandbox_file_bytes": LIMITS.file_bytes,
        "sandbox_open_files": LIMITS.open_files,
        "sandbox_cpu_s": LIMITS.cpu_s,
        "sandbox_disk_bytes": LIMITS.disk_bytes,
    }
    return Settings(**(given | more))  # type: ignore[arg-type]


def opened(kind: DockerKind, name: str = "ses-1") -> DockerSandbox:
    return kind.open(SandboxRequest(name=name, env={"TOKEN": SECRET}, mask=Mask([SECRET]), max_result_bytes=20_000))


def docker_scene(folder: Path, kind: DockerKind) -> Scene:
    def make(name: str) -> DockerSandbox:
        return opened(kind, name)

    given = (str(kind.settings.data_dir), kind.settings.sandbox_docker_host, kind.settings.sandbox_docker_image)
    return Scene(folder=folder, box=make("ses-1"), make=make, program=(PROGRAM, *given, "ses-3"))


def remove_all(kind: DockerKind) -> None:
    """The containers of this test's data directory, and no others."""
    with kind.engine.errors("tidying up") as api:
        for one in api.containers(all=True, filters={"label": f"{INSTALL}={kind.containers.install}"}):
            kind.containers.remove(one["Id"])
    kind.engine.close()
