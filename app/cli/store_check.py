"""Checks for `doctor` whether the graphs' store, as `store` in `langgraph.json` configures it, works here.

The check writes nothing and sets nothing up. It runs no code of the user and calls no embedding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_runner.clients.settings.server_of_graphs import GraphsFileError, read_graphs_file
from agent_runner.clients.settings.settings import Settings

LIMIT_S = 5


class StoreLack(Exception):
    """The reason why the store will not work. `fix` says what to do."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.fix = fix


def described(settings: Settings) -> str:
    """One line about the store as it is configured. Raises StoreLack, and the driver's exceptions."""
    from agent_runner.clients.engine.store.store_config import StoreConfigError, read_store_config

    file = Path(settings.graphs)
    try:
        config = read_store_config(read_graphs_file(file).get("store") if file.exists() else None)
    except GraphsFileError as error:
        raise StoreLack(error.why, error.fix) from error
    except StoreConfigError as error:
        raise StoreLack(f"{file}: {error}", "Mend `store` in that file.") from error
    said = "in the checkpoint store"
    if config.ttl is not None:
        minutes = config.ttl.get("default_ttl")
        said += f", items live {minutes:g} minutes" if minutes else ", items may expire"
    if config.index is None:
        return f"{said}, no search by meaning"
    _embedding(file, str(config.index["embed"]))
    if not settings.checkpoint_url.startswith("sqlite"):
        _vectors_on_postgres(settings.checkpoint_url, config.index["dims"])
    return f"{said}, search by meaning with {config.index['embed']}"


def _embedding(file: Path, embed: str) -> None:
    from agent_runner.clients.engine.store.embedding import place_of, providers

    with _importable(file.parent):
        there = place_of(embed)
    if there is None:
        if embed.partition(":")[0] in providers():
            return
        known = ", ".join(sorted(providers()))
        fix = f"Give a provider ({known}) and its model, or the place of a function."
        raise StoreLack(f"store.index.embed: nothing here is '{embed}'", fix)
    place = file.parent / there[0]
    if ("/" in there[0] or there[0].endswith(".py")) and not place.is_file():
        raise StoreLack(f"store.index.embed: {os.path.normpath(place)} does not exist", "Mend the path.")


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    import sys

    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _vectors_on_postgres(url: str, dims: int) -> None:
    import psycopg

    from agent_runner.clients.engine.store.store_databases import VECTORS_ON_POSTGRES, StoreError, check_vectors
    from agent_runner.status.store.postgres import plain

    with psycopg.connect(plain(url), connect_timeout=LIMIT_S) as connection:
        row = connection.execute(VECTORS_ON_POSTGRES).fetchone()
    try:
        if row is not None:
            check_vectors(*row, wanted=dims)
    except StoreError as error:
        raise StoreLack(str(error), "As said there; until then graphs that use the store fail.") from error
