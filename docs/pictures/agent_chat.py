"""A picture of LangChain's Agent Chat UI that talks with this server: `python -m docs.pictures.agent_chat URL`.

The UI is a project of its own and is not among ours: clone it, `pnpm install`, `pnpm dev`, and give its address.
"""

import json
import sys

from docs.pictures.__main__ import IMAGES, KEY, stack
from docs.pictures.browser import Browser

ASKED = "How large is this project?\n$ ls\n$ wc -l status/*.py | sort -n | tail -3"


def main(ui: str) -> None:
    """Asks the built-in agent by the UI, and takes the picture when the run has ended."""
    with stack() as at, Browser(1280, 900) as browser:
        given = f"apiUrl={at.http}&assistantId=agent-runner&hideToolCalls=false"
        browser.open(ui).wait("document.querySelector('input, textarea')")
        browser.wait(f"(localStorage.setItem('lg:chat:apiKey', {json.dumps(KEY)}), true)")
        browser.open(f"{ui}/?{given}").wait("document.querySelector('textarea')")
        browser.wait("(document.querySelector('textarea').focus(), true)")
        browser.write(ASKED)
        browser.enter()
        browser.wait(
            "document.body.innerText.includes('COMPLETED') || document.body.innerText.includes('wc -l status')"
        )
        browser.wait("[...document.querySelectorAll('button')].every((one) => one.innerText.trim() !== 'Cancel')")
        browser.take(IMAGES / "agent-chat-ui.png")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
