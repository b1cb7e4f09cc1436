"""A page of rows that several readers are given, and what is made of it for a reader: made once, for all of them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from agent_runner.status.log.log import LogRow

T = TypeVar("T")


class SharedPage(tuple[LogRow, ...]):
    """Rows in order, without gaps."""

    _made: dict[Callable[[Sequence[LogRow]], Any], Any]

    def once(self, make: Callable[[Sequence[LogRow]], T]) -> T:
        """`make` of these rows. Only the first call of all readers calls it; `make` is a function of a module."""
        made = self.__dict__.setdefault("_made", {})
        if make not in made:
            made[make] = make(self)
        return cast("T", made[make])
