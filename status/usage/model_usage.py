"""What the model calls of a run used: tokens, and what they cost where the operator named prices.

The prices are not known here: `Priced` answers what a call cost, or None where nobody said.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

DIGITS = 9
"""Of an amount, behind its point: a token of a small model costs less than a millionth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    amount: float
    currency: str
    """As the operator writes it: USD, EUR."""

    def as_json(self) -> dict[str, Any]:
        return {"amount": round(self.amount, DIGITS), "currency": self.currency}


Priced = Callable[[str, Mapping[str, int]], Cost | None]
"""What a call of this model with these tokens cost; None: no price is known."""


class Usage:
    def __init__(self, priced: Priced | None = None) -> None:
        self.tokens: dict[str, int] = {}
        """Of all model calls so far: input_tokens, output_tokens, total_tokens, cached_tokens."""
        self.models: dict[str, dict[str, int]] = {}
        """As `tokens`, by the model's name."""
        self.costs: dict[str, Cost] = {}
        """By the model's name, for models with a price."""
        self._priced = priced
        self._complete = True

    def add(self, model: str, used: Mapping[str, int]) -> Cost | None:
        """Counts one call. Returns what it cost, if a price is known."""
        of = self.models.setdefault(model, {}) if used else {}
        for name, tokens in used.items():
            self.tokens[name] = self.tokens.get(name, 0) + tokens
            of[name] = of.get(name, 0) + tokens
        if self._priced is None:
            return None
        cost = self._priced(model, used) if used else None
        if cost is None:
            self._complete = False
            return None
        known = self.costs.get(model)
        amount = cost.amount + (known.amount if known else 0.0)
        self.costs[model] = Cost(amount=amount, currency=cost.currency)
        return cost

    @property
    def cost(self) -> Cost | None:
        """Of all calls. None if a call had no price or counted nothing, or the prices have several currencies: a sum
        of some of them would be taken for the whole."""
        currencies = {cost.currency for cost in self.costs.values()}
        if not self._complete or len(currencies) != 1:
            return None
        return Cost(amount=sum(cost.amount for cost in self.costs.values()), currency=currencies.pop())


def whole_cost(costs: Iterable[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Of all model calls, each as its message has it. None if one is not known or is in another currency."""
    told = list(costs)
    known = [Cost(amount=float(cost["amount"]), currency=str(cost["currency"])) for cost in told if cost]
    currencies = {cost.currency for cost in known}
    if len(known) != len(told) or len(currencies) != 1:
        return None
    return Cost(amount=sum(cost.amount for cost in known), currency=currencies.pop()).as_json()
