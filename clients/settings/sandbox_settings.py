"""Settings of the sandbox: what agents' commands may reach and use."""

import os
from pathlib import Path
from typing import Literal

from pydantic import field_validator

from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts
from agent_runner.clients.sandbox.own_user import OwnUsers
from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.sandboxes.daytona_settings import DaytonaSettings


class SandboxSettings(DaytonaSettings):
    sandbox: str
    sandbox_kinds: str = setting(
        "AGENT_RUNNER_SANDBOX_KINDS",
        default="",
        about="more kinds of sandboxes, with commas, which an agent may choose by its annotation agent-runner/sandbox",
        shown="none",
    )
    sandbox_network: Literal["off", "on", "listed"] = setting(
        "AGENT_RUNNER_SANDBOX_NETWORK",
        default="off",
        about="on: commands use this machine's network, with every port that the worker can reach; listed: they reach"
        " AGENT_RUNNER_SANDBOX_ALLOWED_HOSTS through a proxy of the worker",
    )
    sandbox_allowed_hosts: str = setting(
        "AGENT_RUNNER_SANDBOX_ALLOWED_HOSTS",
        default="",
        about="with AGENT_RUNNER_SANDBOX_NETWORK=listed: names (*.example.com for all below), addresses, networks, with"
        " ports 80 and 443, or one behind a colon",
        shown="none",
    )
    sandbox_read_only: str = setting(
        "AGENT_RUNNER_SANDBOX_READ_ONLY",
        default="",
        about="more paths that walled off commands can read, with colons between",
        shown="none",
    )
    sandbox_bubblewrap: str = setting(
        "AGENT_RUNNER_SANDBOX_BUBBLEWRAP", default="bwrap", about="the program that walls commands off, 0.8 or later"
    )
    sandbox_users: str = setting(
        "AGENT_RUNNER_SANDBOX_USERS",
        default="1900000000-1900999999",
        about="user ids of nobody else: one for each session where there are no walls and the worker is root, or none",
    )
    sandbox_unsafe: bool = setting(
        "AGENT_RUNNER_SANDBOX_UNSAFE",
        default=False,
        shown="false",
        about="true: outside MODE=local, too, a worker starts where commands cannot be walled off",
    )
    sandbox_memory_bytes: int = setting(
        "AGENT_RUNNER_SANDBOX_MEMORY_BYTES", default=2 << 30, ge=0, about="of a run's commands together; 0: any"
    )
    sandbox_processes: int = setting(
        "AGENT_RUNNER_SANDBOX_PROCESSES", default=512, ge=0, about="processes and threads of a run's commands; 0: any"
    )
    sandbox_cgroup: str = setting(
        "AGENT_RUNNER_SANDBOX_CGROUP",
        default="",
        about="a directory of cgroup v2 that was handed over to the worker: there the kernel bounds memory and"
        " processes of a run's commands together",
        shown="the one that systemd handed over, if any",
    )
    sandbox_cpu_s: int = setting(
        "AGENT_RUNNER_SANDBOX_CPU_S", default=3600, ge=0, about="processor time of one process of a command; 0: any"
    )
    sandbox_open_files: int = setting(
        "AGENT_RUNNER_SANDBOX_OPEN_FILES", default=1024, ge=0, about="of one process of a command; 0: the worker's"
    )
    sandbox_file_bytes: int = setting(
        "AGENT_RUNNER_SANDBOX_FILE_BYTES", default=1 << 30, ge=0, about="of one file that a command writes; 0: any"
    )
    sandbox_disk_bytes: int = setting(
        "AGENT_RUNNER_SANDBOX_DISK_BYTES", default=4 << 30, ge=0, about="of one session's directory; 0: any"
    )

    sandbox_docker_host: str = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_HOST",
        default="",
        about="docker: the engine, unix:///PATH or tcp://HOST:PORT; it has the data directory at the same path",
        shown="DOCKER_HOST, else unix:///var/run/docker.sock",
    )
    sandbox_docker_image: str = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_IMAGE",
        default="python:3.12-slim",
        about="docker: the image of containers, with a /bin/sh; it is not pulled by itself",
        min_length=1,
    )
    sandbox_docker_network: str = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_NETWORK",
        default="none",
        about="docker: the network of containers, as `docker run --network` has it",
        pattern=r"^(none|bridge|[A-Za-z0-9][A-Za-z0-9_.\-]*)$",
    )
    sandbox_docker_cpus: float = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_CPUS", default=2.0, ge=0, about="docker: processors of one container; 0: any"
    )
    sandbox_docker_runtime: str = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_RUNTIME",
        default="",
        about="docker: a runtime that the engine knows, such as runsc of gVisor",
        shown="the engine's",
    )
    sandbox_docker_idle_s: float = setting(
        "AGENT_RUNNER_SANDBOX_DOCKER_IDLE_S",
        default=3600.0,
        ge=0,
        about="docker: an idle container is removed after this time; the session's files stay",
    )

    @field_validator("sandbox_allowed_hosts", mode="after")
    @classmethod
    def _sandbox_hosts(cls, value: str) -> str:
        AllowedHosts.of(value)
        return value

    @field_validator("sandbox_cgroup", mode="after")
    @classmethod
    def _cgroup(cls, value: str) -> str:
        if value and not os.path.isabs(value):
            raise ValueError(f"must be an absolute path, not {value!r}")
        return value.rstrip("/")

    @field_validator("sandbox_users", mode="after")
    @classmethod
    def _users(cls, value: str) -> str:
        OwnUsers.of(value)
        return value

    @field_validator("sandbox_read_only", mode="after")
    @classmethod
    def _whole_paths(cls, value: str) -> str:
        paths = [path for path in value.split(":") if path]
        if wrong := [path for path in paths if not os.path.isabs(path) or os.path.realpath(path) == "/"]:
            raise ValueError(f"must be absolute paths below /, not {wrong[0]!r}")
        return ":".join(paths)

    @property
    def offered_sandboxes(self) -> tuple[str, ...]:
        """The kinds that this worker opens, its default first."""
        more = (name.strip() for name in self.sandbox_kinds.split(","))
        return tuple(dict.fromkeys((self.sandbox, *(name for name in more if name))))

    def kind_problems(self) -> list[tuple[frozenset[str], str]]:
        """Names that no kind of sandbox has: the setting concerned and the text."""
        from agent_runner.clients.sandbox.kinds.registry import known

        there, found = known(), []
        for name in self.offered_sandboxes:
            if name not in there:
                field = "sandbox" if name == self.sandbox else "sandbox_kinds"
                text = f"AGENT_RUNNER_{field.upper()}: there is no sandbox {name!r}; there are {', '.join(there)}"
                found.append((frozenset({field}), text))
        return found

    def read_only_problems(self, data_dir: Path) -> list[str]:
        return [
            f"AGENT_RUNNER_SANDBOX_READ_ONLY lets commands read {path}, which holds the data directory"
            for path in self.readable_in_sandbox
            if data_dir.is_relative_to(path)
        ]

    @property
    def readable_in_sandbox(self) -> tuple[Path, ...]:
        return tuple(Path(path) for path in self.sandbox_read_only.split(":") if path)
