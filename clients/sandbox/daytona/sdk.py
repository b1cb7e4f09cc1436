"""The SDK of Daytona, imported when it is needed: it takes two seconds and 75 MB. Its errors in words, without the key.

Whoever calls runs on a thread that is not the main one: there the SDK would keep time with SIGALRM.
"""

import importlib
from typing import TYPE_CHECKING, Any

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.kinds.port import SandboxError

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

EXTRA = "daytona"
REQUEST_S = 10.0
"""Of one request that only asks or says something. The SDK tries one that only asks up to four times, each so long."""
GUIDE = "docs/guides/sandbox.md#daytona"


def imported() -> Any:
    """The module `daytona`. Raises SandboxError when it is not installed."""
    try:
        return importlib.import_module("daytona")
    except ImportError as error:
        missing = "is not installed" if error.name == "daytona" else f"cannot be imported: {error}"
        raise SandboxError(
            f"Daytona sandboxes need the package daytona, which {missing}. Install the extra on every worker that"
            f" offers them: pip install 'agent-runner[{EXTRA}]' ({GUIDE})."
        ) from error


class Service:
    """The client of this process. `made` raises SandboxError; the client connects when it is first used."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._key = settings.daytona_api_key.get_secret_value()
        self._mask = Mask([self._key] if self._key else [])
        self._client: Any = None
        self.module: Any = None

    def made(self) -> Any:
        """The `Daytona` object; the same one each time."""
        if self._client is None:
            self.module = imported()
            if not self._key:
                raise SandboxError(f"Daytona needs a key: set DAYTONA_API_KEY of the worker ({GUIDE}).")
            config = self.module.DaytonaConfig(
                api_key=self._key,
                api_url=self._settings.daytona_api_url,
                target=self._settings.daytona_target or None,
                connection_pool_maxsize=None,
            )
            try:
                self._client = self.module.Daytona(config)
            except Exception as error:
                raise self.refused("the client could not be made", error) from error
        return self._client

    def refused(self, what: str, error: BaseException) -> SandboxError:
        """An error of the SDK as ours: what failed, why, and what to do where that is known."""
        return SandboxError(f"Daytona: {what}: {self.words(error)}")

    def words(self, error: BaseException) -> str:
        """The text of an error without the key, with the next step for those that have one."""
        text = self._mask(str(error) or type(error).__name__)
        if advice := _advice(error, self._settings.daytona_api_url):
            text = f"{text.rstrip('. ')}. {advice}"
        return text


def _advice(error: BaseException, url: str) -> str:
    status = getattr(error, "status_code", None)
    if status == 401:
        return "The key is wrong or was withdrawn: set DAYTONA_API_KEY of the worker anew."
    if status == 403:
        return "The key may not do this, or a limit of the organization is reached: look at Daytona's dashboard."
    if status == 429:
        return "Daytona limits the rate of this organization: start fewer sessions at once, or ask for a higher limit."
    if is_unreachable(error):
        return f"Check that this worker can reach {url} (DAYTONA_API_URL)."
    return ""


def is_unreachable(error: BaseException) -> bool:
    """Whether nobody answered. The SDK's own class for it does not tell: a refused connection is none of it."""
    seen: BaseException | None = error
    while seen is not None:
        if {"MaxRetryError", "DaytonaConnectionError"} & {one.__name__ for one in type(seen).__mro__}:
            return True
        seen = seen.__cause__
    return False


def is_missing(error: BaseException) -> bool:
    """Whether the sandbox, or the thing in it, is not there."""
    return getattr(error, "status_code", None) == 404


def is_conflict(error: BaseException) -> bool:
    return getattr(error, "status_code", None) == 409


def is_refusal(error: BaseException) -> bool:
    """Whether another try gives the same answer."""
    return getattr(error, "status_code", None) in (400, 401, 403, 404, 422)
