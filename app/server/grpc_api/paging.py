"""Pages for the contract's list calls: a page token is the one that we gave (trailing metadata `next-page-token`).

The contract's lists answer a number of pages and no token. So a plain number is accepted too: it names the page. A
token goes on where a page ended, even if new entries came in between. A number counts from the entry that is newest
now.

Because of the numbers, a page has as many entries as were asked for, however large they are. Entries beyond
`LIST_BYTES` come without their content (trailing metadata `entries-without-content`: how many). `get` has the content.
"""

from typing import Any, TypedDict

from agent_runner.app.server.problems import invalid
from agent_runner.status.store.lists.queries import View

MAX_NUMBER = 1000
LIST_BYTES = 2 << 20
"""The content of a page. With the short fields of 500 entries it stays below the 4 MiB that clients of gRPC take."""
WITHOUT_CONTENT = "entries-without-content"
NEXT_PAGE_TOKEN = "next-page-token"  # noqa: S105 - the name of a header


class Asked(TypedDict):
    """The parameters that all lists of the contract share, as in `agent_runner.status.store.records.Query`."""

    page_size: int
    page_token: str
    page: int
    view: View
    max_bytes: int


def asked(page_size: int, page_token: str) -> Asked:
    """`page_token`: the token to go on with, or the number of the page. Raises INVALID_ARGUMENT."""
    number = 1
    if page_token.isascii() and page_token.isdecimal():
        number, given = int(page_token[:9]), page_token
        if number > MAX_NUMBER or len(given) > 9:
            raise invalid(f"page_token: {given[:20]} is too far; use the tokens of '{NEXT_PAGE_TOKEN}' for deep pages")
        page_token = ""
    return Asked(
        page_size=max(0, page_size),
        page_token=page_token,
        page=max(1, number),
        view=View.FITTING,
        max_bytes=LIST_BYTES,
    )


def pages(total: int, size: int) -> int:
    """How many pages of this size there are."""
    return -(-total // max(1, size))


def say_next(context: Any, token: str, *, without_content: int = 0) -> None:
    """Sends the token of the next page (none on the last page) and the number of entries without content."""
    told = {NEXT_PAGE_TOKEN: token, WITHOUT_CONTENT: str(without_content or "")}
    if said := tuple((name, value) for name, value in told.items() if value):
        context.set_trailing_metadata(said)
