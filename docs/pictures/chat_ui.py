"""Agent Chat UI in front of our server: one conversation with a tool call and a question, in a Chromium.

Its repository is not ours to keep. So this picture is taken only where AGENT_CHAT_UI names a checkout of it in which
`pnpm install` and `pnpm build` have run.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.browser import Browser
from tests.support.ports import free_port, listens
from tests.support.waiting import eventually

CHECKOUT, PICTURE = "AGENT_CHAT_UI", "agent-chat-ui.png"
GRAPHS = Path(__file__).parent / "shop" / "langgraph.json"
ASKED = "My kettle of order 7 came broken. Can I have my money back?"


def checkout() -> Path | None:
    """Where Agent Chat UI is; None where nobody said so."""
    named = os.environ.get(CHECKOUT)
    return Path(named) if named else None


@contextmanager
def chat_ui(folder: Path) -> Iterator[str]:
    """Its address for a while."""
    port = free_port()
    command = [str(folder / "node_modules" / ".bin" / "next"), "start", "-p", str(port), "-H", "127.0.0.1"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet) as process:
        try:
            eventually(lambda: listens(port), within_s=60, what="Agent Chat UI to listen")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def take_conversation(folder: Path, server: str, key: str, picture: Path) -> None:
    """Asks, sees the tool call, takes the picture of the question, approves, and sees the end."""
    with chat_ui(folder) as address, Browser(1000, 1620) as page:
        page.open(address)
        page.wait("document.body && location.protocol === 'http:'")
        page.run(f"localStorage.setItem('lg:chat:apiKey', {json.dumps(key)})")
        page.open(f"{address}/?apiUrl={server}&assistantId=shop")
        page.type("textarea", ASKED)
        page.press("Enter")
        page.shows("find_order")
        page.shows("Approve")
        page.wait("[...document.querySelectorAll('button')].some(b => b.textContent.includes('Send'))")
        page.take(picture)
        page.click("button", "Approve")
        page.shows("42.00 EUR are on their way to you")
