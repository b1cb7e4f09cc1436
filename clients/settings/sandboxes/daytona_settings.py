"""Settings of Daytona sandboxes. The first three have the names that its own tools read."""

import re

from pydantic import SecretStr, field_validator

from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.turn_settings import TurnSettings

INSTALL = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class DaytonaSettings(TurnSettings):
    daytona_api_key: SecretStr = setting(
        "DAYTONA_API_KEY", default="", about="of a worker that offers daytona sandboxes", shown="none"
    )
    daytona_api_url: str = setting(
        "DAYTONA_API_URL", default="https://app.daytona.io/api", about="where sandboxes of Daytona are asked for"
    )
    daytona_target: str = setting(
        "DAYTONA_TARGET", default="", about="the region of new sandboxes", shown="the organization's own"
    )
    daytona_install: str = setting(
        "AGENT_RUNNER_DAYTONA_INSTALL",
        default="agent-runner",
        about="names this installation in its sandboxes' names and labels, the same on every worker; another one for"
        " each installation that shares an organization of Daytona",
    )
    daytona_snapshot: str = setting(
        "AGENT_RUNNER_DAYTONA_SNAPSHOT", default="", about="what new sandboxes start from", shown="Daytona's default"
    )
    daytona_image: str = setting(
        "AGENT_RUNNER_DAYTONA_IMAGE", default="", about="a container image instead of a snapshot", shown="none"
    )
    daytona_cpu: int = setting(
        "AGENT_RUNNER_DAYTONA_CPU", default=0, ge=0, about="processors of a new sandbox, with an image; 0: the default"
    )
    daytona_memory_gib: int = setting(
        "AGENT_RUNNER_DAYTONA_MEMORY_GIB", default=0, ge=0, about="the same for memory, in GiB"
    )
    daytona_disk_gib: int = setting("AGENT_RUNNER_DAYTONA_DISK_GIB", default=0, ge=0, about="the same for disk, in GiB")
    daytona_auto_stop_min: int = setting(
        "AGENT_RUNNER_DAYTONA_AUTO_STOP_MIN",
        default=15,
        ge=0,
        about="minutes without a run until Daytona stops a sandbox, with all that runs in it; 0: never",
    )
    daytona_auto_archive_min: int = setting(
        "AGENT_RUNNER_DAYTONA_AUTO_ARCHIVE_MIN",
        default=7 * 24 * 60,
        ge=0,
        about="minutes after which a stopped sandbox is archived; 0: as late as Daytona lets",
    )
    daytona_auto_delete_min: int = setting(
        "AGENT_RUNNER_DAYTONA_AUTO_DELETE_MIN",
        default=0,
        ge=0,
        about="minutes after which a stopped sandbox is deleted; 0: AGENT_RUNNER_RETENTION_DAYS",
    )
    daytona_start_s: float = setting(
        "AGENT_RUNNER_DAYTONA_START_S", default=180.0, gt=0, about="how long a sandbox may take to be started"
    )

    @field_validator("daytona_install", mode="after")
    @classmethod
    def _names_an_install(cls, value: str) -> str:
        if not INSTALL.fullmatch(value):
            raise ValueError("must be up to 32 small letters, digits and hyphens, and begin and end with no hyphen")
        return value

    @field_validator("daytona_api_url", mode="after")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError(f"must begin with https://, not {value!r}")
        return value.rstrip("/")

    def daytona_problems(self) -> list[tuple[frozenset[str], str]]:
        """Settings that do not go together: the ones concerned and the text."""
        sized = [name for name in ("cpu", "memory_gib", "disk_gib") if getattr(self, f"daytona_{name}")]
        found = []
        if sized and not self.daytona_image:
            names = ", ".join(f"AGENT_RUNNER_DAYTONA_{name.upper()}" for name in sized)
            text = f"{names} need AGENT_RUNNER_DAYTONA_IMAGE: a snapshot of Daytona has sizes of its own"
            found.append((frozenset(f"daytona_{name}" for name in sized), text))
        if self.daytona_image and self.daytona_snapshot:
            text = "AGENT_RUNNER_DAYTONA_IMAGE and AGENT_RUNNER_DAYTONA_SNAPSHOT are both set: leave one out"
            found.append((frozenset({"daytona_image", "daytona_snapshot"}), text))
        return found
