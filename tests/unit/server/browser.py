"""A real browser, driven over its debugging protocol: what a page does under its own security policy."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ADDRESS = re.compile(rb"DevTools listening on (ws://127\.0\.0\.1:\d+/devtools/browser/\S+)")
WITHIN_S = 30.0


class Page:
    """One tab. `told` is what its console and the browser's log said."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0
        self.told: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(await asyncio.wait_for(self._socket.recv(), WITHIN_S))
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            if said.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.told.append(json.dumps(said["params"]))

    async def value(self, expression: str) -> Any:
        """Of an expression in the page, as JSON; a promise is awaited."""
        done = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The first truthy value of the expression."""
        deadline = asyncio.get_running_loop().time() + WITHIN_S
        while not (found := await self.value(expression)):
            now = await self.value("document.body?.innerText")
            assert asyncio.get_running_loop().time() < deadline, (expression, now, self.told)
            await asyncio.sleep(0.05)
        return found

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """An empty tab of a browser of its own, which is gone afterwards."""
    async with running(folder) as address, tab(address) as page:
        yield page


@asynccontextmanager
async def tab(address: str) -> AsyncIterator[Page]:
    """An empty tab of a running browser; what another tab stored is not there."""
    async with _connected(address) as whole:
        context = await whole.call("Target.createBrowserContext")
        target = await whole.call("Target.createTarget", url="about:blank", **context)
        async with _connected(f"{address.partition('/devtools/')[0]}/devtools/page/{target['targetId']}") as page:
            for domain in ("Page", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            yield page
        await whole.call("Target.disposeBrowserContext", **context)


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Page]:
    async with websockets.connect(address, max_size=None, proxy=None) as socket:
        yield Page(socket)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[str]:
    """A browser, by the address of its debugging protocol. It takes longer to start than most tests of a page."""
    assert CHROMIUM is not None
    argv = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
        *("--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
    ]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async with asyncio.timeout(WITHIN_S):
            while not (found := ADDRESS.search(await process.stderr.readline())):
                assert process.returncode is None, "the browser did not start"
        reading = asyncio.create_task(process.stderr.read())
        yield found.group(1).decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading
