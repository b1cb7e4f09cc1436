"""Makes a compiled graph from a bundle. Only this module knows which engine is used."""

from pathlib import Path
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.memory.finished_calls import answer_finished_calls
from agent_runner.clients.engine.store.org_store import OrgStore
from agent_runner.clients.engine.user_graphs.user_graphs import Graph, UserGraphs
from agent_runner.clients.models.cascade import ModelSettings, build_model
from agent_runner.clients.models.order.fallbacks import ModelOrder
from agent_runner.clients.process.shared_work import SharedWork
from agent_runner.clients.process.threads import own
from agent_runner.status.requests.model_order import names_of

MAX_CACHED = 64


class EngineError(Exception):
    """The engine that the settings name cannot be used; the text says what to do."""


class EngineSettings(ModelSettings, Protocol):
    """The part of the settings that the engine needs."""

    @property
    def engine(self) -> str: ...
    @property
    def graphs(self) -> Path: ...
    @property
    def configurable(self) -> str: ...
    @property
    def fallback_models(self) -> str: ...


class EngineFactory:
    """Builds one graph per bundle, which concurrent runs share. Belongs to the event loop of its saver."""

    def __init__(
        self, settings: EngineSettings, saver: BaseCheckpointSaver[Any] | None, store: OrgStore | None = None
    ) -> None:
        names = [name.strip() for name in settings.configurable.split(",") if name.strip()]
        self.user_graphs = UserGraphs(settings.graphs, saver, store, names)
        self._settings = settings
        self._saver = saver
        answer_finished_calls()
        self._built: SharedWork[Bundle, tuple[Graph, str]] = SharedWork(MAX_CACHED)

    async def graph(self, bundle: Bundle, config: RunnableConfig | None = None) -> Graph:
        """The graph of `bundle`; `config` is given to a user's graph function.

        Raises GraphError, ModelError or EngineError.
        """
        if bundle.graph:
            return await self.user_graphs.load(bundle.graph, config)
        return (await self._deep_agent(bundle))[0]

    async def model_line(self, bundle: Bundle) -> str:
        """One line that says which model the bundle runs on and why; empty for a graph of the user's own."""
        return "" if bundle.graph else (await self._deep_agent(bundle))[1]

    async def _deep_agent(self, bundle: Bundle) -> tuple[Graph, str]:
        # A failure is not cached: before the next run a key may have been set, or Ollama started.
        return await self._built.get(bundle, lambda: own(self._build, bundle))

    def _build(self, bundle: Bundle) -> tuple[Graph, str]:
        if self._settings.engine != "deepagents":
            raise EngineError(
                f"engine '{self._settings.engine}' is not available in this version; set AGENT_RUNNER_ENGINE=deepagents"
            )
        from agent_runner.clients.engine.deep_agents import build_deep_agent

        others = bundle.fallback_models
        if others is None:
            others = names_of(self._settings.fallback_models) or ()
        names = tuple(dict.fromkeys((bundle.model_name, *others)))
        order = ModelOrder(self._settings, names) if len(names) > 1 else None
        model, line = order.first_built() if order else build_model(self._settings, bundle.model_name)
        return build_deep_agent(bundle, model, self._saver, order=order), line
