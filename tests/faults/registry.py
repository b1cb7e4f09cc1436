"""Which function provokes which row of the catalogue."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.scene import Scene

Case = Callable[["Scene"], None]
CASES: dict[tuple[str, str], Case] = {}
"""By (id of the row, pool)."""


def case(id: str, *, pools: tuple[str, ...] = ("async",)) -> Callable[[Case], Case]:
    """`@case("F07/child", pools=("async", "prefork"))`: this function is that row, in these pools."""

    def register(function: Case) -> Case:
        for pool in pools:
            if (id, pool) in CASES:
                raise ValueError(f"{id} on {pool} has two cases")
            CASES[id, pool] = function
        return function

    return register


def load_cases() -> dict[tuple[str, str], Case]:
    """Every case of tests/faults/cases."""
    import tests.faults.cases as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return CASES
