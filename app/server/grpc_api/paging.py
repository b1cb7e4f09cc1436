"""Pages for the contract's list calls: a page token is the one that we gave (trailing metadata `next-page-token`).

The contract's lists answer a number of pages and no token, so a plain number is accepted too: the page with it. A
token goes on where a page ended, whatever came meanwhile; a number counts from the newest of the moment.

Because of the numbers a page has as many entries as were asked for, whatever they hold. What would make it larger than
`LIST_BYTES` is there without its content (trailing metadata `entries-without-content`: how many); `get` has it.
"""

from typing import Any

from app.server.problems import invalid

MAX_NUMBER = 1000
LIST_BYTES = 2 << 20
"""Of the content of a page: with the short fields of 500 entries it stays below the 4 MiB that clients of gRPC take."""
WITHOUT_CONTENT = "entries-without-content"
NEXT_PAGE_TOKEN = "next-page-token"  # noqa: S105 - the name of a header


def start(page_token: str) -> tuple[str, int]:
    """The token to go on after, and the number of the page from there. Raises INVALID_ARGUMENT."""
    if not (page_token.isascii() and page_token.isdecimal()):
        return page_token, 1
    number = int(page_token[:9])
    if number > MAX_NUMBER or len(page_token) > 9:
        raise invalid(f"page_token: {page_token[:20]} is too far; use the tokens of '{NEXT_PAGE_TOKEN}' for deep pages")
    return "", max(1, number)


def pages(total: int, size: int) -> int:
    """How many pages of this size there are."""
    return -(-total // max(1, size))


def say_next(context: Any, token: str, *, without_content: int = 0) -> None:
    """Tell the caller where the next page begins, nothing on the last page; and how many entries have no content."""
    told = {NEXT_PAGE_TOKEN: token, WITHOUT_CONTENT: str(without_content or "")}
    if said := tuple((name, value) for name, value in told.items() if value):
        context.set_trailing_metadata(said)
