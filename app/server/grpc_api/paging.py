"""Pages for the contract's list calls: a page token is the one that we gave (trailing metadata `next-page-token`).

The contract's lists answer a number of pages and no token, so a plain number is accepted too: the page with it.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.server.problems import invalid

Found = TypeVar("Found")
MAX_NUMBER = 1000
NEXT_PAGE_TOKEN = "next-page-token"  # noqa: S105 - the name of a header


async def page(read: Callable[[str], Awaitable[Found]], token: str, next_token: Callable[[Found], str]) -> Found | None:
    """`read(token)` for the page that is meant; None when there is no page of this number."""
    if not token.isdecimal():
        return await read(token)
    number = int(token)
    if number > MAX_NUMBER:
        raise invalid(f"page_token: {number} is too far; use the tokens of '{NEXT_PAGE_TOKEN}' for deep pages")
    found = await read("")
    for _ in range(number - 1):
        token = next_token(found)
        if not token:
            return None
        found = await read(token)
    return found


def pages(total: int, size: int) -> int:
    """How many pages of this size there are."""
    return -(-total // max(1, size))
