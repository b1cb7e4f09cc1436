"""Whole numbers of JSON."""

from typing import Any


def whole(given: Any) -> Any:
    """JSON's 9.0 is the whole number 9. All else is given back as it is."""
    return int(given) if isinstance(given, float) and given.is_integer() else given
