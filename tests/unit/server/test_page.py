"""The page in a real browser: the key that its link brings, an execution that it starts and follows."""

from pathlib import Path

from app.server.composition import RunningServer
from tests.unit.server.browser import NEEDS_BROWSER, browser
from tests.unit.server.conftest import KEY

pytestmark = NEEDS_BROWSER


def of(server: RunningServer, rest: str = "") -> str:
    return f"http://127.0.0.1:{server.http_port}/{rest}"


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
