"""Which kind of sandbox a run gets: the worker's, or the one that its agent chose. Never another one instead."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deepagents.backends import LocalShellBackend

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.isolation import NotIsolated
from agent_runner.clients.sandbox.kinds import registry
from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.local import LocalKind
from agent_runner.clients.sandbox.kinds.offered import check_sandboxes, sandbox_said
from agent_runner.clients.sandbox.kinds.port import Sandbox, SandboxError
from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.worker.sandbox_sweep import sweep_once


class Broken(SandboxKind):
    def open(self, request: SandboxRequest) -> Sandbox:
        raise SandboxError("no engine answers")

    def remove(self, name: str) -> bool:
        return False

    def health(self) -> Health:
        return Health(up=False, said="no engine answers", fix="Start it.")

    def sweep(self) -> int:
        raise SandboxError("no engine answers")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package that adds kinds: a class, a function that makes a backend, one that fails, and names of ours."""
    module = ModuleType("kinds_of_a_package")

    def shell(request: SandboxRequest) -> LocalShellBackend:
        folder = tmp_path / request.name
        folder.mkdir(exist_ok=True)
        return LocalShellBackend(root_dir=folder, virtual_mode=True, env={"PATH": "/usr/bin:/bin", **request.env})

    module.Broken, module.shell, module.nothing = Broken, shell, lambda request: object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = {"broken": "Broken", "shell": "shell", "nothing": "nothing", "gone": "missing", "local": "Broken"}
    points = [
        EntryPoint(name=name, value=f"{module.__name__}:{value}", group=registry.GROUP) for name, value in names.items()
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
    registry._installed.cache_clear()
    yield module
    registry._installed.cache_clear()


def settings_of(**given: Any) -> Settings:
    return Settings(sandbox="local", **given) if "sandbox" not in given else Settings(**given)


def test_the_agents_choice_is_taken_if_the_worker_offers_it() -> None:
    """Else it is refused, with what is offered and the setting."""
    settings = settings_of(sandbox_kinds="docker, none")
    assert settings.offered_sandboxes == ("local", "docker", "none")
    assert registry.chosen_kind(settings, "") == "local"
    assert registry.chosen_kind(settings, " docker ") == "docker"
    with pytest.raises(
        SandboxError, match="this worker offers local, docker, none; AGENT_RUNNER_SANDBOX_KINDS"
    ) as told:
        registry.chosen_kind(settings, "daytona")
    assert told.value.kind == "daytona"


def test_a_name_of_nothing_is_a_problem_of_the_settings() -> None:
    """It stops a process at its start, with the names that there are."""
    (problem,) = settings_of(sandbox="vm").kind_problems()
    assert problem[0] == {"sandbox"}
    assert problem[1].startswith("AGENT_RUNNER_SANDBOX: there is no sandbox 'vm'; there are local, ")
    (problem,) = settings_of(sandbox_kinds="none,vm").kind_problems()
    assert problem[0] == {"sandbox_kinds"}
    assert settings_of(sandbox_kinds="none").kind_problems() == []


@pytest.mark.usefixtures("installed")
def test_packages_add_kinds_and_replace_none_of_ours() -> None:
    """A class is a kind; one that cannot be loaded says why in everything that is asked of it."""
    settings = settings_of(sandbox_kinds="broken,gone")
    found = registry.kinds_of(settings)
    assert isinstance(found["local"], LocalKind)
    assert isinstance(found["broken"], Broken)
    assert registry.kind_of("broken", settings) is found["broken"]
    assert "cannot be loaded: AttributeError" in found["gone"].health().said
    with pytest.raises(SandboxError, match="cannot be loaded"):
        found["gone"].open(SandboxRequest(name="ses-1"))
    assert sweep_once(settings) == 0  # what fails is logged


@pytest.mark.usefixtures("installed")
def test_a_worker_does_not_start_without_its_own_kind() -> None:
    """Nothing takes its place. One that is only offered beside it is said to be unusable, and the worker starts."""
    with pytest.raises(NotIsolated, match=r"SANDBOX=broken cannot be used: no engine answers\. Start it\."):
        check_sandboxes(settings_of(sandbox="broken"))
    assert sandbox_said(settings_of(sandbox="broken")) == "no engine answers"
    isolation, unusable = check_sandboxes(settings_of(sandbox="none", sandbox_kinds="broken"))
    assert isolation is None
    assert unusable == {"broken": "no engine answers"}


@pytest.mark.usefixtures("installed")
async def test_a_backend_of_deepagents_is_a_sandbox() -> None:
    """Results are masked and cut as everywhere, a timeout is 124, files are masked where they are read."""
    secret = "s3cret-of-the-run"
    request = SandboxRequest(name="ses-1", env={"TOKEN": secret}, mask=Mask([secret]), max_result_bytes=4000)
    box = registry.kind_of("shell", settings_of()).open(request)
    told = await box.execute('echo "it is $TOKEN"; exit 7')
    assert (told.exit_code, "it is ********" in told.output) == (7, True)
    assert (await box.execute("sleep 20", 0.3)).exit_code == 124
    cut = await box.execute("head -c 20000 /dev/zero | tr '\\0' x; echo $TOKEN")
    assert cut.truncated
    name = cut.output.partition("full output is in ")[2].partition("]")[0]
    (whole,) = box.files.download_files([name])
    assert whole.content is not None
    assert len(whole.content) > 20_000
    assert secret.encode() not in whole.content
    await box.execute("echo $TOKEN > note")
    assert secret not in str(box.files.read("/note"))
    assert secret not in str(box.files.grep("s3cret"))
    with pytest.raises(SandboxError, match="give the server as `http`"):
        box.serve(["true"], {})
    await box.close()


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_makes_something_else() -> None:
    """The run hears what came instead."""
    with pytest.raises(SandboxError, match="made a object, which runs no commands"):
        registry.kind_of("nothing", settings_of()).open(SandboxRequest(name="ses-1"))
