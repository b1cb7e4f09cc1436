"""The page in a real browser: the key that its link brings, an execution that it starts and follows."""

import base64
import hashlib
import re
from pathlib import Path

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from tests.unit.server.browser import NEEDS_BROWSER, browser
from tests.unit.server.conftest import KEY


def of(server: RunningServer, rest: str = "") -> str:
    return f"http://127.0.0.1:{server.http_port}/{rest}"


@NEEDS_BROWSER
async def test_a_link_brings_the_key(server: RunningServer, tmp_path: Path) -> None:
    """It works at once, stands in the address no more, and the page of the API has it too."""
    async with browser(tmp_path) as page:
        await page.go(of(server))
        await page.until("document.getElementById('problem').textContent.includes('API key')")
        await page.go(of(server, f"#key={KEY}"))
        await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
        assert await page.value("location.href") == of(server)
        assert await page.value("document.getElementById('problem').textContent") == ""
        await page.go(of(server, "docs"))
        assert await page.value("document.getElementById('key').value") == KEY


@NEEDS_BROWSER
@pytest.mark.parametrize("path", ["", "docs"])
async def test_the_pages_run_under_their_policy(server: RunningServer, tmp_path: Path, path: str) -> None:
    """They are drawn and speak with the server; a script that gets into one is not run, and no page may frame it."""
    async with browser(tmp_path) as page:
        await page.go(of(server, f"#key={KEY}"))
        await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
        await page.go(of(server, path))
        ready = "document.getElementById('routes').children.length > 3" if path else "typeof watch === 'function'"
        await page.until(ready)
        assert await page.value("getComputedStyle(document.querySelector('button, summary')).cursor") == "pointer"
        assert not [said for said in page.told if "Content Security Policy" in said], page.told
        await page.value(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        )
        assert await page.value("window.ran === undefined")


@NEEDS_BROWSER
async def test_a_page_starts_and_follows_an_execution(server: RunningServer, tmp_path: Path) -> None:
    """Its own forms work: one message, seen in the list and by its address."""
    async with browser(tmp_path) as page:
        await page.go(of(server, f"#key={KEY}"))
        await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
        await page.value("document.querySelector('#new textarea').value = 'hello there'")
        await page.value("document.querySelector('#new button').click()")
        await page.until("document.getElementById('list').innerText.includes('hello there')")
        await page.until("/^#aex-/.test(location.hash)")
        assert await page.value("document.getElementById('problem').textContent") == ""


async def test_the_headers_of_the_pages(http: httpx.AsyncClient) -> None:
    """Every script and style by its hash, no frames, no guessing of types; without a browser."""
    for path in ("/", "/docs"):
        answer = await http.get(path)
        policy = answer.headers["content-security-policy"]
        scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
        assert scripts
        for script in scripts:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        assert "unsafe-inline" not in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"<\w+[^>]*\son\w+=|<\w+[^>]*\sstyle=", answer.text), "a policy of hashes would block it"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def started(http: httpx.AsyncClient, message: str) -> str:
    made = (await http.post("/v1/executions", json={"message": message})).raise_for_status()
    return str(made.json()["metadata"]["id"])


@NEEDS_BROWSER
async def test_a_wrong_link_says_so_and_stops(server: RunningServer, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Nothing of the execution that was shown before stays under the new address, and it is asked for once."""
    known = await started(http, "the one before")
    async with browser(tmp_path) as page:
        await page.go(of(server, f"#key={KEY}"))
        await page.value(f"location.hash = '{known}'")
        await page.until("document.getElementById('view').innerText.includes('the one before')")
        await page.value("location.hash = 'aex-that-never-was'")
        await page.until("document.querySelector('#view [role=alert]')?.innerText.includes('aex-that-never-was')")
        assert "the one before" not in await page.value("document.getElementById('view').innerText")
        # The list is read every 3 s; a stream that did not stop would be asked for every second.
        asked = "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes(%s)).length"
        lists = await page.value(asked % "'executions?'")
        await page.until(f"{asked % repr('executions?')} >= {lists + 2}")
        assert await page.value(asked % "'never-was'") == 1
        await page.value(f"location.hash = '{known}'")
        await page.until("document.getElementById('view').innerText.includes('the one before')")


@NEEDS_BROWSER
async def test_the_focus_stays_while_the_list_changes(
    server: RunningServer, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """The entry that the keyboard is on keeps it when the list is read again and new entries come above it."""
    first = await started(http, "number one")
    async with browser(tmp_path) as page:
        await page.go(of(server, f"#key={KEY}"))
        await page.until("!!document.querySelector('#list li button')")
        await page.value("document.querySelector('#list li button').focus()")
        focused = "document.activeElement.closest('#list li')?.dataset.id"
        assert await page.value(focused) == first
        for number in ("two", "three"):
            newest = await started(http, f"number {number}")
            await page.until(f"document.querySelector('#list li')?.dataset.id === '{newest}'")
            assert await page.value(focused) == first
        await http.post(f"/v1/executions/{first}/cancel")
        await page.until(f"document.querySelector('#list [data-id={first}]').innerText.includes('CANCELLED')")
        assert await page.value(focused) == first


@NEEDS_BROWSER
async def test_a_tap_on_a_narrow_screen_shows_the_execution(
    server: RunningServer, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """It stands below the list there, and the page goes to it."""
    for number in range(20):
        await started(http, f"number {number}")
    async with browser(tmp_path) as page:
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.go(of(server, f"#key={KEY}"))
        await page.until("document.querySelectorAll('#list li').length === 20")
        await page.value("document.querySelector('#list li button').click()")
        await page.until("!!document.querySelector('#view header')")
        await page.until("document.querySelector('#view header').getBoundingClientRect().top < innerHeight")
        assert await page.value("document.querySelector('#view header').getBoundingClientRect().top >= 0")
