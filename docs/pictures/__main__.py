"""Takes the pictures in docs/images anew, of a real stack with the offline demo model: `make pictures`.

`run.svg` is a recording of `make run`; the others are the live page and Flower in a Chromium without a window.
Without a Chromium the recording is still made, and the exit status is 1. That of Agent Chat UI stays as it is where
there is no checkout of it (`chat_ui.py`).
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from checks.tree import ROOT
from docs.pictures import chat_ui
from docs.pictures.browser import Browser, BrowserMissing
from docs.pictures.film import frames, svg
from docs.pictures.terminal import Piece, record

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes of a picture
KEY = "dummy-local-key"
READY = re.compile(r"READY http=(\S+) grpc=\S+ flower=(\S+)")

LONG = """\
What is written here about running this, and which page is the longest?
$ ls docs
$ wc -l docs/guides/*.md | sort -n | tail -3
@researcher find the pages that speak of Postgres $ grep -il postgres docs/guides/*.md
@reviewer count the decision records $ ls docs/architecture/decisions | wc -l"""
TOO_LONG = "wait for something that never comes\n$ sleep 60"
PRICES = '[{"model": "*", "currency": "USD", "input": 3, "output": 15}]'
RUNNING = "keep a slot busy for a while\n$ sleep 45"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the stack can be reached."""

    http: str
    flower: str


def environment(data: str) -> dict[str, str]:
    """Ours, with the demo model and a data directory of its own, and without what would change the stack."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_RUNNER_", "STIGMER_", "OPENAI_", "ANTHRO"))}
    own = {"AGENT_RUNNER_DATA_DIR": data, "STIGMER_LLM_PROVIDER": "demo", "AGENT_RUNNER_PRICES": PRICES}
    return {**kept, **own, "STIGMER_API_KEY": KEY, "AGENT_RUNNER_FLOWER_PASSWORD": KEY}


@contextmanager
def stack(**settings: str) -> Iterator[Addresses]:
    """A whole stack for a while, on free ports."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as data:
        command = [str(ROOT / ".venv/bin/agent-runner"), "dev", "--http-port=0", "--grpc-port=0", "--flower-port=0"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(data) | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                found = next(filter(None, map(READY.search, process.stdout)), None)
                if found is None:
                    raise SystemExit("the stack did not start; try `make dev`")
                yield Addresses(http=found[1], flower=found[2])
            finally:
                process.terminate()


def run(client: httpx.Client, message: str, wait_s: float, **timeouts: float) -> str:
    """Creates an execution, waits for its end so long, and returns its id."""
    body = {"message": message, "timeouts": timeouts}
    made = client.post("/v1/executions", params={"wait": wait_s} if wait_s else {}, json=body).raise_for_status()
    return str(made.json()["metadata"]["id"])


def take_pages(at: Addresses) -> None:
    """One execution that failed, one that was completed, and one that runs; the page, its list and Flower show them."""
    client = httpx.Client(base_url=at.http, headers={"Authorization": f"Bearer {KEY}"}, timeout=90)
    failed = run(client, TOO_LONG, 60, start_to_close_s=2)
    completed = run(client, LONG, 60)
    run(client, RUNNING, 0)
    with Browser(1280, 900) as browser:
        browser.open(f"{at.http}/#key={KEY}")
        browser.wait("document.querySelectorAll('#list tr').length > 2 && document.querySelector('#list .IN_PROGRESS')")
        browser.wait("document.querySelector('.live-how').textContent === 'live'")
        browser.take(IMAGES / "list.png")
        browser.open(f"{at.http}/#{completed}")
        browser.wait("document.querySelector('#view .COMPLETED') && document.querySelectorAll('.call').length > 1")
        browser.take(IMAGES / "page.png")
        browser.open(f"{at.http}/#{failed}")
        browser.wait("document.querySelector('#view .FAILED') && document.querySelector('#view .failure')")
        browser.take(IMAGES / "failure.png")
    with Browser(1440, 640) as browser:
        browser.log_in("admin", KEY)
        browser.open(f"{at.flower}/tasks")
        browser.wait("document.querySelectorAll('#tasks-table tbody tr').length > 4")
        browser.take(IMAGES / "flower.png")


def take_chat_ui() -> None:
    """Where there is a checkout of it."""
    if (folder := chat_ui.checkout()) is None:
        print(f"{chat_ui.PICTURE}: stays as it is without {chat_ui.CHECKOUT}", file=sys.stderr)
        return
    with stack(AGENT_RUNNER_GRAPHS=str(chat_ui.GRAPHS)) as addresses:
        chat_ui.take_conversation(folder, addresses.http, KEY, IMAGES / chat_ui.PICTURE)


def film() -> None:
    """`make run`, as it is seen in a terminal."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as data:
        typed = Piece(at=0, text="\x1b[2m$\x1b[0m make run\r\n")
        pieces = [typed, *record(["make", "-s", "run"], cwd=ROOT, env=environment(data))]
    (IMAGES / "run.svg").write_text(svg("make run", frames(pieces)))


def main() -> int:
    """Exit status 1 where a picture could not be taken or is too large."""
    IMAGES.mkdir(exist_ok=True)
    subprocess.run(["make", "-s", "setup"], cwd=ROOT, check=True)  # its words are not for the recording
    film()
    try:
        with stack() as addresses:
            take_pages(addresses)
        take_chat_ui()
    except BrowserMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    sizes = {image.name: image.stat().st_size for image in sorted(IMAGES.iterdir())}
    print("\n".join(f"{size:>8} {name}" for name, size in sizes.items()))
    return int(max(sizes.values()) > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
