"""Pages of a list: their size, and tokens that say where one ended.

A token holds the key of the last row of a page. Keys never change and new rows have larger ones, so a walk from page to
page is not disturbed by rows that are added or removed meanwhile. For callers a token is opaque.
"""

import base64
from collections.abc import Iterable

DEFAULT_PAGE, MAX_PAGE = 50, 500
COUNTED = 10_000
"""Rows beyond this are not counted: a total is for showing, and counting reads every row."""


def size_of(asked: int) -> int:
    """Rows of a page: `asked`, at most `MAX_PAGE`; `DEFAULT_PAGE` for none."""
    return min(asked, MAX_PAGE) if asked > 0 else DEFAULT_PAGE


def fitting(weights: Iterable[int], most: int) -> int:
    """How many of these, from the first on: the last one is the one that reaches `most`, so there is at least one."""
    count = before = 0
    for weight in weights:
        if before >= most:
            break
        before += weight
        count += 1
    return count


def inside(weights: Iterable[int], most: int | None) -> list[bool]:
    """For each of these, from the first on: whether it still fits into `most`, all together. None: all of them fit."""
    fits: list[bool] = []
    taken = 0
    for weight in weights:
        fits.append(most is None or taken + weight <= most)
        taken += weight if fits[-1] else 0
    return fits


def token_of(list_name: str, key: str) -> str:
    """The token of the page that ends with the row of this key."""
    return base64.urlsafe_b64encode(f"{list_name} {key}".encode()).decode().rstrip("=")


def key_of(list_name: str, token: str) -> str:
    """The key in a token that `token_of` made for this list. Raises `ValueError` for any other text."""
    try:
        made_for, _, key = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(" ")
    except ValueError:
        made_for = key = ""
    if made_for != list_name or not key or token_of(list_name, key) != token:
        raise ValueError(f"page_token {token[:80]!r} was not made for this list; start again without one")
    return key
