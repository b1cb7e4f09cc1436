"""The stream modes that a reader names in the address."""

import json
from collections.abc import Sequence


def chosen_modes(given: Sequence[str] | None) -> list[str]:
    """From a repeated parameter, or from a list as JSON text; empty: all that the run was asked for."""
    found: list[str] = []
    for text in given or ():
        if text.startswith("["):
            try:
                listed = json.loads(text)
            except ValueError:
                listed = [text]
            found += [str(one) for one in listed if isinstance(one, str)]
        elif text:
            found += [one.strip() for one in text.split(",")]
    return list(dict.fromkeys(found))
