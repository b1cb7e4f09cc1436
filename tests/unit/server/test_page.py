"""The page in a real browser: the key that its link brings, an execution that it starts and follows."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from agent_runner.app.server.composition import RunningServer
from tests.unit.server.browser import NEEDS_BROWSER, Page, running, tab
from tests.unit.server.conftest import KEY

SHARES_A_SERVER = True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with running(tmp_path_factory.mktemp("browser")) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: str) -> AsyncIterator[Page]:
    async with tab(browser) as opened:
        yield opened


def of(server: RunningServer, rest: str = "") -> str:
    return f"http://127.0.0.1:{server.http_port}/{rest}"


@NEEDS_BROWSER
async def test_a_link_brings_the_key(server: RunningServer, page: Page) -> None:
    """It works at once, stands in the address no more, and the page of the API has it too."""
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
async def test_the_pages_run_under_their_policy(server: RunningServer, page: Page, path: str) -> None:
    """They are drawn and speak with the server; a script that gets into one is not run, and no page may frame it."""
    await page.go(of(server, f"#key={KEY}"))
    await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
    await page.go(of(server, path))
    ready = "document.getElementById('routes').children.length > 3" if path else "!!document.querySelector('#search')"
    await page.until(ready)
    assert await page.value("getComputedStyle(document.querySelector('button, summary')).cursor") == "pointer"
    assert not [said for said in page.told if "Content Security Policy" in said], page.told
    await page.value(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert await page.value("window.ran === undefined")


@NEEDS_BROWSER
async def test_a_page_starts_and_follows_an_execution(server: RunningServer, page: Page) -> None:
    """Its own form works: one message, seen by its address and in the list."""
    await page.go(of(server, f"#key={KEY}"))
    await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
    await page.value("location.hash = '/start'")
    await page.until("document.activeElement.name === 'message'")
    await page.call("Input.insertText", text="hello there")
    await page.value("document.querySelector('#new button.main').click()")
    await page.until("/^#aex-/.test(location.hash)")
    await page.until("document.getElementById('view').innerText.includes('hello there')")
    assert await page.value("document.getElementById('problem').textContent") == ""
    await page.value("location.hash = ''")
    await page.until("document.getElementById('list')?.innerText.includes('hello there')")


@NEEDS_BROWSER
async def test_a_key_is_never_sent_in_an_address(server: RunningServer, page: Page) -> None:
    """Also not by a link with a key that is followed while the page is open: it is no id of an execution."""
    await page.go(of(server))
    await page.until("!!document.querySelector('#search')")
    await page.value(f"location.hash = 'key={KEY}'")
    await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
    asked = await page.value("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert not [address for address in asked if KEY in address]


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
        markup = re.sub(r"<script>.*?</script>", "", answer.text, flags=re.DOTALL)
        assert not re.search(r"<\w+[^>]*\son\w+=|<\w+[^>]*\sstyle=", markup), "a policy of hashes would block it"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_page_is_sent_once(http: httpx.AsyncClient) -> None:
    """Who has it already is told so, and gets it when it is another one."""
    page = await http.get("/")
    again = await http.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert (await http.get("/", headers={"If-None-Match": '"another"'})).text == page.text


async def started(http: httpx.AsyncClient, message: str) -> str:
    made = (await http.post("/v1/executions", json={"message": message})).raise_for_status()
    return str(made.json()["metadata"]["id"])


@NEEDS_BROWSER
async def test_a_wrong_link_says_so_and_stops(server: RunningServer, http: httpx.AsyncClient, page: Page) -> None:
    """Nothing of the execution that was shown before stays under the new address, and it is asked for once."""
    known = await started(http, "the one before")
    await page.go(of(server, f"#key={KEY}"))
    await page.value(f"location.hash = '{known}'")
    await page.until("document.getElementById('view').innerText.includes('the one before')")
    await page.value("location.hash = 'aex-that-never-was'")
    await page.until("document.querySelector('#view [role=alert]')?.innerText.includes('aex-that-never-was')")
    assert "the one before" not in await page.value("document.getElementById('view').innerText")
    # Workers are asked for every 3 s; a stream that did not stop would be asked for every second.
    asked = "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes(%s)).length"
    others = await page.value(asked % "'/v1/workers'")
    await page.until(f"{asked % repr('/v1/workers')} >= {others + 2}")
    assert await page.value(asked % "'never-was'") == 1
    await page.value(f"location.hash = '{known}'")
    await page.until("document.getElementById('view').innerText.includes('the one before')")


@NEEDS_BROWSER
async def test_the_focus_stays_while_the_list_changes(
    server: RunningServer, http: httpx.AsyncClient, page: Page
) -> None:
    """The entry that the keyboard is on keeps it when the list is read again and new entries come above it."""
    first = await started(http, "number one")
    await page.go(of(server, f"#key={KEY}"))
    await page.until("!!document.querySelector('#list a.open')")
    await page.value("document.querySelector('#list a.open').focus()")
    focused = "document.activeElement.closest('#list tr')?.dataset.id"
    assert await page.value(focused) == first
    for number in ("two", "three"):
        newest = await started(http, f"number {number}")
        await page.until(f"document.querySelector('#list tr')?.dataset.id === '{newest}'")
        assert await page.value(focused) == first
    await http.post(f"/v1/executions/{first}/cancel")
    await page.until(f"document.querySelector('#list [data-id={first}]').innerText.includes('cancelled')")
    assert await page.value(focused) == first


@NEEDS_BROWSER
async def test_a_tap_on_a_narrow_screen_shows_the_execution(
    server: RunningServer, http: httpx.AsyncClient, page: Page
) -> None:
    """Nothing of the list stands above it then, and nothing is wider than the screen."""
    for number in range(20):
        await started(http, f"number {number}")
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    await page.call("Emulation.setDeviceMetricsOverride", **size)
    await page.go(of(server, f"#key={KEY}"))
    await page.until("document.querySelectorAll('#list tr').length === 20")
    assert await page.value("document.documentElement.scrollWidth <= innerWidth")
    await page.value("document.querySelector('#list tr:last-child a.open').click()")
    await page.until("!!document.querySelector('#view header')")
    await page.until("document.querySelector('#view header').getBoundingClientRect().top < innerHeight")
    assert await page.value("document.querySelector('#view header').getBoundingClientRect().top >= 0")
    assert await page.value("document.documentElement.scrollWidth <= innerWidth")
