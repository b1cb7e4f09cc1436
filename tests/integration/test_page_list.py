"""The page's list with many executions behind it: what it costs to keep open, and that it is told what changes."""

import json
from collections.abc import Iterator

import pytest

from tests.integration.browser import Browser, browser
from tests.integration.stack import KEY, Stack
from tests.support.waiting import eventually

ROWS = 50
MOST_BYTES = 20_000
SENT = """
performance.getEntriesByType("resource").filter(one => one.name.includes("view=summary"))
  .map(one => one.decodedBodySize)
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Browser]]:
    with browser() as page, Stack.open(tmp_path_factory.mktemp("list")) as stack:
        for number in range(ROWS + 10):
            stack.create(f"report {number} about the state of the north: " + "all figures of all places. " * 200)
        page.open(f"{stack.http.base_url}/#key={KEY}")
        page.shows("No worker is online.")
        yield stack, page


def newest(page: Browser) -> None:
    """The list without filters, as long as a page is."""
    page.run("location.hash = ''")
    eventually(lambda: page.run("document.querySelectorAll('#list tr').length") == ROWS, what="a page of rows")


def test_a_page_of_rows_is_light(town: tuple[Stack, Browser]) -> None:
    """Fifty rows cost 20 kB at the most before they are packed, however long the messages are."""
    _, page = town
    newest(page)
    sizes = page.run(SENT)
    print(f"{ROWS} rows: {sizes} bytes")
    assert sizes
    assert max(sizes) <= MOST_BYTES


def test_changes_are_told_and_not_asked_for(town: tuple[Stack, Browser]) -> None:
    """A new execution and a new phase come by themselves: the page reads no list meanwhile, its counters go on, and the
    keyboard stays where it was."""
    stack, page = town
    newest(page)
    eventually(
        lambda: page.run("document.querySelector('.live-how').innerText") == "live", what="the stream of changes"
    )
    page.run("document.querySelectorAll('#list a.open')[3].focus()")
    focused = "document.activeElement.closest('tr')?.dataset.id"
    before, row = len(page.run(SENT)), page.run(focused)
    made = stack.create("the newest of them")["metadata"]["id"]
    first = "document.querySelector('#list tr').dataset.id"
    eventually(lambda: page.run(first) == made, what="the new row on top")
    stack.http.post(f"/v1/executions/{made}/cancel")
    shown = f"document.querySelector('#list tr[data-id={json.dumps(made)}]').innerText"
    eventually(lambda: "cancelled" in page.run(shown), what="the new phase")
    eventually(lambda: page.run("document.querySelector('.counters .CANCELLED b').innerText") == "1", what="counters")
    assert page.run(focused) == row
    assert len(page.run(SENT)) <= before + 1  # each 30 s, for what a stream may have missed
    assert page.run("document.querySelectorAll('#list tr').length") == ROWS


def test_older_pages_and_searches(town: tuple[Stack, Browser]) -> None:
    """The next page has the rest; a search finds what stands on it; a link to it shows the same."""
    stack, page = town
    newest(page)
    page.click(".pages a", "Older")
    page.shows("report 0 ")
    page.run("location.hash = '?q=report%207%20about'")
    eventually(lambda: page.run("document.querySelectorAll('#list tr').length") == 1, what="what was searched for")
    page.shows("report 7 about")
    page.open("about:blank").open(f"{stack.http.base_url}/#?q=report%207%20about")
    page.shows("report 7 about")
    eventually(lambda: page.run("document.querySelectorAll('#list tr').length") == 1, what="the same by its address")
