"""The example page of the docs: plain JavaScript, an `EventSource` with a ticket, on a site of its own."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.browser import browser
from tests.integration.stack import Stack

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "live-conversation"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The address of the folder with the example, as another site than the server's."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(EXAMPLE))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_of_another_site_shows_the_conversation_live(site: str, tmp_path: Path) -> None:
    """Messages, a tool call with its result, and the end, from a stream that began before the worker came."""
    assert len((EXAMPLE / "index.html").read_text().splitlines()) <= 35
    with browser() as page, Stack.open(tmp_path, AGENT_RUNNER_CORS_ORIGINS=site) as stack:
        made = stack.create("$ echo hello from the example")
        ticket = stack.http.post(f"/v1/executions/{made['metadata']['id']}/stream-ticket").json()
        url = f"{str(stack.http.base_url).rstrip('/')}{ticket['url']}&last_event_id=0"
        page.open(f"{site}/index.html?url={quote(url, safe='')}")
        page.shows("echo hello from the example")
        stack.start_worker()
        page.shows("tool: execute")
        page.shows("-> hello from the example")
        page.shows("EXECUTION_COMPLETED")
        assert ticket["ticket"] not in stack.server.output()
