"""Which addresses belong to this edge: they have another form of refusals, and pages of other origins may call them."""

ROOTS = ("/assistants", "/threads", "/runs", "/store", "/ok", "/info")
OPEN = ("/ok", "/info")
"""Addresses that need no key: they hold no data."""


def is_edge(path: str) -> bool:
    return path.startswith(ROOTS) and any(path == root or path.startswith(f"{root}/") for root in ROOTS)


def is_guarded(path: str) -> bool:
    return is_edge(path) and path not in OPEN
