"""A Chromium without a window, driven over its DevTools protocol through two pipes: no port, no library.

Clicks and keys are the browser's own input events: what nobody could click is not clicked.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.waiting import eventually

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
ANSWER_S = 30.0
_ON_3_AND_4 = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_FOUND = "[...document.querySelectorAll(%s)].filter(e => e.offsetParent && e.textContent.includes(%s))"


class Browser:
    """One page. Elements are named by a CSS selector and a text that they contain."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._number, self._rest = to, back, 0, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str) -> Self:
        self._call("Page.navigate", url=url)
        return self

    def text(self) -> str:
        """What a person can read."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def shows(self, text: str, *, within_s: float = 60.0) -> None:
        try:
            eventually(lambda: text in self.text(), within_s=within_s, what=f"the page to show {text!r}")
        except AssertionError as late:
            raise AssertionError(f"{late}; it shows:\n{self.text()[-2000:]}") from None

    def click(self, selector: str, text: str = "") -> None:
        """On the middle of the one visible element of this kind, as soon as it is there."""
        place = f"{_FOUND % (json.dumps(selector), json.dumps(text))}"
        where = (
            f"(() => {{ const all = {place}; if (all.length != 1) return null; all[0].scrollIntoView();"
            " const box = all[0].getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        x, y = eventually(lambda: self.run(where), within_s=30, what=f"one {selector} with {text!r}:\n{self.text()}")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        self.click(selector)
        self._call("Input.insertText", text=text)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON."""
        told = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def _call(self, method: str, **params: Any) -> Any:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session := getattr(self, "_session", ""):
            asked["sessionId"] = session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        until = time.monotonic() + ANSWER_S
        while True:
            told = json.loads(self._next(until))
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def _next(self, until: float) -> bytes:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(until - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            more = os.read(self._back, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return message


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Skips the test where no Chromium is installed. Nothing of it is left."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is installed")
    profile, (read, to), (back, write) = folder / "profile", os.pipe(), os.pipe()
    argv = [sys.executable, "-c", _ON_3_AND_4, str(read), str(write), program, *ARGUMENTS]
    argv += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
    with (folder / "browser.log").open("wb") as log:
        popen = subprocess.Popen(
            argv, pass_fds=(read, write), stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}
        )
    os.close(read)
    os.close(write)
    try:
        yield Browser(to, back)
    finally:
        os.close(to)  # it ends with this pipe
        try:
            popen.wait(20)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait(5)
        os.close(back)
        shutil.rmtree(profile, ignore_errors=True)
