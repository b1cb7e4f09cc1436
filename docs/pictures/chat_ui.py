"""Takes docs/images/chat-ui.png: LangChain's Agent Chat UI in front of our server.

    git clone https://github.com/langchain-ai/agent-chat-ui && (cd agent-chat-ui && pnpm install)
    .venv/bin/python -m docs.pictures.chat_ui agent-chat-ui

The interface is its authors' own, unchanged; only its environment names our server and the built-in agent. Nothing of
it is kept here. It needs Node, pnpm and a Chromium, so `make pictures` does not take this one.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from docs.pictures.__main__ import IMAGES, KEY, LARGEST, stack
from docs.pictures.browser import Browser
from tests.support.ports import free_port

SAID = "What is written here, and which guide is the longest?\n$ wc -l docs/guides/*.md | sort -n | tail -4"
START_S = 180.0
TYPE = """(() => {
  const field = document.querySelector("textarea");
  if (!field) return false;
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(field, %s);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  return true;
})()"""
SEND = """(() => {
  const button = document.querySelector('form button[type="submit"]:not([disabled])');
  if (button) button.click();
  return Boolean(button);
})()"""


@contextmanager
def chat_ui(folder: Path, api: str) -> Iterator[str]:
    """The address of the interface, which is served from its own folder for a while."""
    port = free_port()
    own = {"NEXT_PUBLIC_API_URL": api, "NEXT_PUBLIC_ASSISTANT_ID": "agent-runner", "NEXT_TELEMETRY_DISABLED": "1"}
    command = [str(folder / "node_modules" / ".bin" / "next"), "dev", "--hostname", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while not _answers(address):
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit(f"the interface did not start; try `pnpm dev` in {folder}")
            time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def _answers(address: str) -> bool:
    try:  # the first answer waits until the page is compiled
        return httpx.get(address, timeout=START_S).status_code == 200
    except httpx.HTTPError:
        return False


def take(browser: Browser, page: str) -> None:
    """A conversation: what was said, the tool with its result, the answer."""
    browser.open(page)
    browser.wait(f"localStorage.setItem('lg:chat:apiKey', {json.dumps(KEY)}) === undefined")
    browser.open(f"{page}/?chatHistoryOpen=true&hideToolCalls=false")
    browser.wait(TYPE % json.dumps(SAID))
    browser.wait(SEND)
    browser.wait("document.body.innerText.includes('total') && !document.querySelector('.animate-spin')")
    browser.wait("document.body.innerText.split('What is written here').length > 2")  # in the list of threads, too
    browser.take(IMAGES / "chat-ui.png")


def main(arguments: list[str]) -> int:
    """Exit status 1 where the picture is too large."""
    folder = Path(arguments[0]).resolve()
    with stack() as addresses, chat_ui(folder, addresses.http) as page, Browser(1280, 800) as browser:
        take(browser, page)
    size = (IMAGES / "chat-ui.png").stat().st_size
    print(f"{size:>8} chat-ui.png")
    return int(size > LARGEST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
