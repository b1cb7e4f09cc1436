"""A Chromium without a window, spoken to by its DevTools protocol over a pair of pipes: no port, no driver."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 60.0
# The protocol's pipes are the numbers 3 and 4 of the browser. Not by a shell: some take no number above 9.
_ON_3_AND_4 = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class BrowserMissing(Exception):
    """There is no Chromium on this machine."""


def program() -> str:
    """The path of the browser. BrowserMissing where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise BrowserMissing("there is no Chromium here (apt install chromium): the pictures of pages cannot be taken")


class Browser:
    """One page of one browser. It and its profile are gone at the end of the block."""

    answer_s = PATIENCE_S
    """How long an answer of the browser is waited for."""

    def __init__(self, width: int, height: int) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="pictures-", ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = [sys.executable, "-c", _ON_3_AND_4, str(to_read), str(to_write), program(), "--remote-debugging-pipe"]
        command += ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--no-first-run", "--disable-gpu"]
        command += ["--disable-dev-shm-usage"]
        command += [f"--window-size={width},{height}", f"--user-data-dir={self._profile.name}", "about:blank"]
        quiet = subprocess.DEVNULL
        # Its own temporary files go with the profile.
        environment = {**os.environ, "HOME": self._profile.name, "TMPDIR": self._profile.name}
        self._process = subprocess.Popen(
            command,
            pass_fds=(to_read, to_write),
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            env=environment,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest, self._session = 0, b"", ""
        page = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Network.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)  # it ends itself then
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        self._profile.cleanup()

    def log_in(self, user: str, password: str) -> None:
        """For pages that ask for a name and a password."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {token}"})

    def open(self, url: str) -> Self:
        """Goes to an address; `wait` tells when it is there."""
        self._call("Page.navigate", url=url)
        return self

    def wait(self, expression: str) -> None:
        """Until the JavaScript expression is true. TimeoutError after a minute."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._call("Runtime.evaluate", expression=f"Boolean({expression})")["result"].get("value"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page never came to: {expression}")
            time.sleep(0.1)

    def take(self, file: Path) -> None:
        """A picture of what is seen, as PNG."""
        taken = self._call("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.answer_s
        while True:
            answer = self._next_message(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next_message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError("the browser does not answer")
            read = os.read(self._from, 1 << 20)
            if not read:
                raise RuntimeError("the browser has ended")
            self._rest += read
        one, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(one)
        return message
