"""What tokens cost: the operator's table of prices. None are shipped, for they change and are agreed with a vendor.

    [{"model": "claude-*", "currency": "USD", "input": 3, "output": 15, "cached": 0.3}]

The first row whose pattern fits the name that the model gives itself counts. Amounts are for a million tokens. `input`
is for all tokens that went in but those that the provider read from its cache, which cost `cached`; without `cached`
they cost what others do.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from agent_runner.status.usage.model_usage import Cost

PER = 1_000_000
FIELDS = {"model", "currency", "input", "output", "cached"}
NEEDED = FIELDS - {"cached"}
MOST_ROWS, MOST_CURRENCY_CHARS = 1000, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    model: str
    """A pattern: `*`, `?` and `[abc]`."""
    currency: str
    input: float
    output: float
    cached: float


class Prices:
    """`given` is the table as JSON, or the path of a file with it. Raises ValueError, which names the row."""

    def __init__(self, given: str) -> None:
        self.rows: Sequence[Price] = _rows(_read(given)) if given.strip() else ()

    def __call__(self, model: str, used: Mapping[str, int]) -> Cost | None:
        price = next((row for row in self.rows if fnmatchcase(model, row.model)), None)
        if price is None:
            return None
        cached = min(used.get("cached_tokens", 0), used.get("input_tokens", 0))
        amount = (used.get("input_tokens", 0) - cached) * price.input + cached * price.cached
        amount += used.get("output_tokens", 0) * price.output
        return Cost(amount=amount / PER, currency=price.currency)


@functools.cache
def prices_of(given: str) -> Prices | None:
    """The table of a process, read once. None: there is none."""
    return Prices(given) if given.strip() else None


def _read(given: str) -> Any:
    text = given.strip()
    if not text.startswith(("[", "{")):
        try:
            text = Path(text).read_text("utf-8-sig")
        except (OSError, ValueError) as error:
            raise ValueError(f"must be a table of prices as JSON, or a file that can be read: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be JSON: {error}") from None


def _rows(table: Any) -> list[Price]:
    if not isinstance(table, list) or len(table) > MOST_ROWS:
        raise ValueError(f"must be a list of at most {MOST_ROWS} rows with {', '.join(sorted(FIELDS))}")
    return [_price(row, number) for number, row in enumerate(table, start=1)]


def _price(row: Any, number: int) -> Price:
    if not isinstance(row, dict) or not NEEDED <= row.keys() <= FIELDS:
        raise ValueError(f"must have {', '.join(sorted(NEEDED))}, and perhaps cached, in row {number}")
    for name in ("model", "currency"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"must have a text for {name} in row {number}")
    if len(row["currency"]) > MOST_CURRENCY_CHARS:
        raise ValueError(f"must have a currency of at most {MOST_CURRENCY_CHARS} characters in row {number}")
    for name in ("input", "output", "cached"):
        amount = row.get(name, 0)
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise ValueError(f"must have a number from 0 for {name} in row {number}")
    return Price(
        model=row["model"],
        currency=row["currency"].strip(),
        input=float(row["input"]),
        output=float(row["output"]),
        cached=float(row["cached"] if "cached" in row else row["input"]),
    )
