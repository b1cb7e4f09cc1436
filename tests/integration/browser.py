"""A Chromium without a window that clicks and types as a person does.

Clicks and keys are the browser's own input events: what nobody could click is not clicked.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from docs.pictures import browser as pictures
from tests.support.waiting import eventually

_FOUND = "[...document.querySelectorAll(%s)].filter(e => e.offsetParent && e.textContent.includes(%s))"


class Browser(pictures.Browser):
    """One page. Elements are named by a CSS selector and a text that they contain."""

    answer_s = 30.0

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

    def press(self, key: str) -> None:
        """One key, wherever the focus is."""
        text = {"Enter": "\r"}.get(key, key)
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def spent_ms(self) -> float:
        """CPU time that the main thread of the page has taken so far, whatever else the machine does."""
        self._call("Performance.enable", timeDomain="threadTicks")
        metrics = self._call("Performance.getMetrics")["metrics"]
        return 1000 * next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")

    def prefers(self, feature: str, value: str) -> None:
        """What the reader's system asks of pages: `color-scheme`, `dark`."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": f"prefers-{feature}", "value": value}])

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON; a promise is awaited."""
        told = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Skips the test where no Chromium is installed. Nothing of it is left."""
    try:
        opened = Browser(1280, 900)
    except pictures.BrowserMissing as missing:
        pytest.skip(str(missing))
    with opened as page:
        yield page
