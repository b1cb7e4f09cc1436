"""Loads the user's own graphs from `langgraph.json`, which is read as LangGraph's own tools read it.

    {"graphs": {"name": "./file.py:graph"}, "dependencies": ["."], "env": ".env"}

`graph` is a compiled graph, a `StateGraph`, an `@entrypoint`, or a function that makes one (`graph_functions`).
Paths are relative to the file's folder, which is importable, as are the folders in `dependencies`; `env` is put into
the process environment (`graph_surroundings`).

Each file is executed once per process, in a thread of its own. All runs that need the file wait for the same import,
also if the run that began it is cancelled. So no run sees a half-imported file. Runs of other graphs do not wait.
"""

import importlib
import importlib.util
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from agent_runner.clients.engine.contain import contained_blocking, guard_nodes
from agent_runner.clients.engine.current import current_run, doing
from agent_runner.clients.engine.memory.checkpoints import forget_refused_answers
from agent_runner.clients.engine.memory.state.serializer import remembering
from agent_runner.clients.engine.store.embedding import checked, place_of
from agent_runner.clients.engine.store.org_store import OrgStore
from agent_runner.clients.engine.store.store_config import StoreConfig, StoreConfigError, read_store_config
from agent_runner.clients.engine.user_graphs.graph_files import module_of_file
from agent_runner.clients.engine.user_graphs.graph_functions import RUNNABLE, GraphFunctionError, call
from agent_runner.clients.engine.user_graphs.graph_surroundings import (
    SurroundingsError,
    make_importable,
    not_installed,
    set_environment,
)
from agent_runner.clients.engine.user_graphs.grouped_errors import named
from agent_runner.clients.engine.user_graphs.half_imports import bear_half_imports
from agent_runner.clients.engine.user_graphs.run_context import check_names
from agent_runner.clients.engine.user_graphs.same_names import refuse_same_names, shadowed
from agent_runner.clients.process.shared_work import SharedWork
from agent_runner.clients.process.threads import apart, own
from agent_runner.clients.settings.server_of_graphs import GraphsFileError, read_graphs_file

Graph = Pregel[Any, Any, Any, Any]
MAX_GRAPHS = 1000


class GraphError(Exception):
    """A graph of the user cannot be loaded; the text names the file and, for a wrong name, the names that exist."""


class UserGraphs:
    """Reads `path` at the first use and again when the file has changed; modules stay loaded."""

    def __init__(
        self,
        path: Path,
        saver: BaseCheckpointSaver[Any] | None = None,
        store: OrgStore | None = None,
        configurable: Iterable[str] = (),
    ) -> None:
        self._path = Path(os.path.abspath(path))
        self._saver, self._store = saver, store
        self._configurable = frozenset(configurable)
        self._listed: dict[str, frozenset[str]] = {}
        self._store_entry = StoreConfig()
        self._dependencies: object = None
        if store is not None:
            store.configure = self._store_config
        self._read: tuple[int, dict[str, str]] | None = None
        self._reading = threading.Lock()
        self._modules: SharedWork[str, ModuleType] = SharedWork(MAX_GRAPHS)
        self._loaded: SharedWork[tuple[int, str], Any] = SharedWork(MAX_GRAPHS)
        self._allowed_types: list[tuple[str, str]] = []
        self._durability: dict[str, str] = {}

    def names(self) -> list[str]:
        """The names of the graphs in the file; none if there is no file. Raises GraphError if it cannot be read."""
        return sorted(self._entries()[1]) if self._path.exists() else []

    async def load(self, name: str, config: RunnableConfig | None = None) -> Graph:
        """The graph `name`, with our memory if it has none of its own. A graph function is called for each run."""
        known = self._unchanged()
        version, entries = await own(self._entries) if known is None else known
        if name not in entries:
            raise GraphError(f"{self._path} has no graph '{name}'. It has: {', '.join(sorted(entries))}")
        with doing(f"the import of {entries[name]}"):
            # A changed file has another version: graphs of the old version are not used any more.
            target = await self._loaded.get((version, name), lambda: self._load(name, entries[name]))
        run, listed = current_run(), self._configurable | self._listed.get(name, frozenset())
        if isinstance(target, Pregel):
            graph = target
        else:
            given = config or {}
            with doing(f"the function of graph '{name}'"):
                try:
                    made = await call(name, target, run.context.into(given, listed) if run else given, self._store)
                except GraphFunctionError as error:
                    raise GraphError(f"graph '{name}' {error}") from error
            graph = await own(self._prepared, name, made)
        if run is not None:
            check_names(graph, run.context, listed, name)
        return graph

    async def _load(self, name: str, spec: str) -> Any:
        """The object that `spec` names. A graph is made ready for use; a function or anything else stays as it is."""
        place, _, attribute = spec.rpartition(":")
        if not place or not attribute.isidentifier():
            raise GraphError(f"{self._path}: graph '{name}' is '{spec}', expected './file.py:graph'")
        module = await self._module(name, place)
        if not hasattr(module, attribute):
            raise GraphError(f"{self._path}: graph '{name}': {place} defines no '{attribute}'")
        target = getattr(module, attribute)
        return await own(self._prepared, name, target) if isinstance(target, (StateGraph, Pregel)) else target

    async def _module(self, name: str, place: str) -> ModuleType:
        try:
            return await self._modules.get(
                place,
                lambda: apart(self._import, place, name=f"import of {place}"),  # it may never end
            )
        except FileNotFoundError as error:
            raise GraphError(
                f"{self._path}: graph '{name}': {error.filename or place} does not exist. Mend the path there; it is"
                f" relative to {self._path.parent}"
            ) from error
        except Exception as error:
            raise GraphError(
                f"{self._path}: graph '{name}': importing {place} failed: {named(error)}{self._lacks(error)}"
                f"{shadowed(error, (self._path.parent / place).parent)}"
            ) from error

    def _lacks(self, error: Exception) -> str:
        lacking = not_installed(self._path.parent, self._dependencies) if isinstance(error, ImportError) else []
        return f". Of its dependencies not installed where this worker runs: {', '.join(lacking)}" if lacking else ""

    def _import(self, place: str) -> ModuleType:
        with contained_blocking():
            if place.endswith(".py") or "/" in place:
                file = Path(os.path.normpath(self._path.parent / place))
                module = module_of_file(file)
                refuse_same_names(file, self._path.parent)
                return module
            return importlib.import_module(place)

    def durability(self, name: str) -> str:
        """The `durability` in the graph's entry, as it is written there; empty if there is none."""
        return self._durability.get(name, "")

    async def _store_config(self) -> StoreConfig:
        """The `store` entry, with an embedding object in place of `provider:model` or `./file.py:embed`."""
        await own(self._entries)
        entry = self._store_entry
        if entry.index is None:
            return entry
        embed, name = entry.index["embed"], ""
        if (there := await own(place_of, embed)) is not None:
            place, name = there
            module = await self._module("store.index.embed", place)
            if not hasattr(module, name):
                raise GraphError(f"{self._path}: store.index.embed: {place} defines no '{name}'")
            embed = getattr(module, name)
        made = await own(checked, embed, entry.index["dims"], name)
        return replace(entry, index={**entry.index, "embed": made})

    def _prepared(self, name: str, made: Any) -> Graph:
        if isinstance(made, StateGraph):
            made = made.compile()
        if not isinstance(made, Pregel):
            raise GraphError(
                f"{self._path}: graph '{name}' is {type(made).__name__}, not a compiled graph or a StateGraph"
                + (RUNNABLE if isinstance(made, Runnable) else "")
            )
        if made.checkpointer is None and self._saver is not None:
            made = made.copy(update={"checkpointer": remembering(self._saver, made, self._allowed_types)})
        if made.store is None and self._store is not None:
            made = made.copy(update={"store": self._store})
        graph: Graph = made
        memory: object = graph.checkpointer
        if isinstance(memory, BaseCheckpointSaver):
            forget_refused_answers(memory)
        guard_nodes(graph)
        bear_half_imports()
        return graph

    def _unchanged(self) -> tuple[int, dict[str, str]] | None:
        """What was read, if the file has not changed since. This look is cheaper than a hop to a thread."""
        with suppress(OSError):
            if self._read is not None and self._read[0] == self._path.stat().st_mtime_ns:
                return self._read
        return None

    def _entries(self) -> tuple[int, dict[str, str]]:
        """The file's version, and the place of each graph by name."""
        with self._reading:
            return self._entries_now()

    def _entries_now(self) -> tuple[int, dict[str, str]]:
        try:
            changed = self._path.stat().st_mtime_ns
            if self._read is not None and self._read[0] == changed:
                return self._read
            document = read_graphs_file(self._path)
        except FileNotFoundError:
            raise GraphError(
                f"{self._path} does not exist: AGENT_RUNNER_GRAPHS must name your langgraph.json"
            ) from None
        except (GraphsFileError, OSError) as error:
            raise GraphError(str(error)) from error
        graphs = document.get("graphs")
        if not isinstance(graphs, dict) or not graphs:
            raise GraphError(f'{self._path} names no graphs: expected {{"graphs": {{"name": "./file.py:graph"}}}}')
        entries = {str(name): _spec_of(given) for name, given in graphs.items()}
        self._dependencies = document.get("dependencies")
        try:
            store = read_store_config(document.get("store"))
            make_importable(self._path.parent, self._dependencies)
            set_environment(self._path.parent, document.get("env"))
        except (StoreConfigError, SurroundingsError) as error:
            raise GraphError(f"{self._path}: {error}") from error
        self._allowed_types = _allowed_types(document)
        self._durability = {n: str(g.get("durability", "")) for n, g in graphs.items() if isinstance(g, dict)}
        self._listed = {str(name): _names(given) for name, given in graphs.items()}
        self._store_entry = store
        if self._store is not None:
            self._store.ttl_config = store.ttl
        self._read = (changed, entries)
        return self._read


def _allowed_types(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Classes that a checkpoint may hold although no schema declares them, each as (module, name)."""
    given: Any = document
    for key in ("checkpointer", "serde", "allowed_msgpack_modules"):
        given = given.get(key) if isinstance(given, dict) else None
    return [(str(one[0]), str(one[1])) for one in given or () if isinstance(one, list) and len(one) == 2]


def _names(given: Any) -> frozenset[str]:
    listed = given.get("configurable") if isinstance(given, dict) else None
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()


def _spec_of(given: Any) -> str:
    return str(given.get("path", "")) if isinstance(given, dict) else str(given)
