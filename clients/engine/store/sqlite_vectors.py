"""Vector distances for LangGraph's SQLite store, for a Python that cannot load extensions into SQLite.

Many builds of Python cannot do that (pyenv's, python.org's for macOS). The extension sqlite-vec is used wherever it can
be loaded: it is many times faster. Both compare a query with every vector of the namespace.
"""

import math
import sqlite3
from array import array
from collections.abc import Callable
from typing import Any

import aiosqlite

LOADS_EXTENSIONS = hasattr(sqlite3.Connection, "enable_load_extension")


def connect(path: str) -> aiosqlite.Connection:
    """A connection for the store. Each statement commits by itself."""
    kind = aiosqlite.Connection if LOADS_EXTENSIONS else _WithDistances
    return kind(lambda: sqlite3.connect(path, isolation_level=None), 64)


class _WithDistances(aiosqlite.Connection):
    async def enable_load_extension(self, value: bool) -> None:
        pass

    async def load_extension(self, path: str) -> None:
        for name, distance in DISTANCES.items():
            await self.create_function(name, 2, _of_blobs(distance), deterministic=True)


def _product(one: "array[float]", other: "array[float]") -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _cosine(one: "array[float]", other: "array[float]") -> float | None:
    lengths = math.sqrt(_product(one, one)) * math.sqrt(_product(other, other))
    return 1.0 - _product(one, other) / lengths if lengths else None


DISTANCES: dict[str, Callable[["array[float]", "array[float]"], float | None]] = {
    "vec_distance_cosine": _cosine,
    "vec_distance_L2": math.dist,
    "vec_distance_L1": lambda one, other: sum(abs(a - b) for a, b in zip(one, other, strict=True)),
}


def _of_blobs(distance: Callable[["array[float]", "array[float]"], float | None]) -> Callable[[Any, Any], float | None]:
    """`distance` for vectors in their stored form: bytes of 32-bit floats, one after the other."""
    return lambda one, other: None if one is None or other is None else distance(array("f", one), array("f", other))
