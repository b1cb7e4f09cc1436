"""Streams in a real browser: the client, and the example page of the docs with a ticket, on a site of their own."""

import functools
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from checks.tree import ROOT
from tests.front_ends.breaking import BreakingProxy
from tests.front_ends.test_js_client import CLIENT, SCRIPTS, assert_resumed
from tests.integration.browser import Browser, browser
from tests.integration.stack import KEY, Stack

EXAMPLE = ROOT / "docs" / "examples" / "live-conversation" / "index.html"
READS = """(async () => {
  const client = await import("./agent-runner.js");
  const { resumed } = await import("./resumes.mjs");
  return JSON.stringify(await resumed(client, %s, %s));
})()"""


@dataclass
class Site:
    """Another site than the server's, with a browser that is there; `tickets` are those that it gave away."""

    stack: Stack
    page: Browser
    address: str
    tickets: list[str]
    through: list[str]
    """The address that its tickets are for, if not the server's own."""


class Handler(SimpleHTTPRequestHandler):
    """Files, and tickets for the executions that its pages ask for, as one's own server would give them."""

    def __init__(self, *args: Any, site: list[Site], **named: Any) -> None:
        self.site = site
        self.extensions_map = {**self.extensions_map, ".mjs": "text/javascript"}
        super().__init__(*args, **named)

    def do_GET(self) -> None:
        if not self.path.startswith("/tickets/"):
            super().do_GET()
            return
        (site,) = self.site
        id = self.path.rpartition("/")[2]
        made = site.stack.http.post(f"/v1/executions/{id}/stream-ticket").json()
        site.tickets.append(made["ticket"])
        base = site.through[0] if site.through else f"http://127.0.0.1:{site.stack.http_port}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"url": base + made["url"]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, files = tmp_path_factory.mktemp("browsers"), tmp_path_factory.mktemp("site")
    for file in (EXAMPLE, CLIENT / "agent-runner.js", SCRIPTS / "resumes.mjs"):
        shutil.copy(file, files)
    known: list[Site] = []
    handler = functools.partial(Handler, site=known, directory=str(files))
    with browser() as page, ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            with Stack.open(folder, AGENT_RUNNER_CORS_ORIGINS=address) as stack:
                stack.start_worker()
                known.append(Site(stack, page, address, [], []))
                yield known[0]
        finally:
            server.shutdown()
            thread.join()


def test_the_client_goes_on_in_a_browser(site: Site) -> None:
    """The same as in Node: each event once and in order over connections that break, refusals, the list's changes."""
    site.page.open(f"{site.address}/agent-runner.js")
    site.page.shows("A client for the event streams")
    asked = (json.dumps(f"http://127.0.0.1:{site.stack.http_port}"), json.dumps(KEY))
    assert_resumed(json.loads(site.page.run(READS % asked)))


def test_the_example_page_shows_a_conversation_with_tools(site: Site) -> None:
    """The very file of the docs, at most 25 lines of JavaScript: messages, tool calls with results, and the end, live;
    it goes on over a connection that breaks, and with another ticket where one is too old. No log shows a ticket."""
    script = EXAMPLE.read_text().split("<script>\n")[1].split("</script>")[0]
    assert len(script.splitlines()) <= 25
    go = site.stack.witnesses / "go"
    with BreakingProxy(lambda: site.stack.http_port, [1200, -1, 2500]).running() as proxy:
        site.through[:] = [f"http://127.0.0.1:{proxy.port}"]
        message = f"tell me\n$ echo first of two\n$ while [ ! -e {go} ]; do sleep 0.1; done; echo second of two"
        id = site.stack.create(message)["metadata"]["id"]
        site.page.open(f"{site.address}/index.html?tickets=/tickets/{id}")
        site.page.shows("MESSAGE_HUMAN: tell me")
        site.page.shows("-> first of two")
        assert "-> second of two" not in site.page.text()
        go.touch()
        site.page.shows("-> second of two")
        site.page.shows("EXECUTION_COMPLETED")
        assert proxy.streams >= 4
    site.through.clear()
    shown = site.page.text()
    assert shown.count("-> first of two") == shown.count("-> second of two") == 1
    assert shown.count("tool: execute") == 2
    assert len(site.tickets) >= 2, "the page asked for another one"
    said = site.stack.server.output()
    assert not [ticket for ticket in site.tickets if ticket in said]
