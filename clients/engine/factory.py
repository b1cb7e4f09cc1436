"""Makes a compiled graph from a bundle. Only this module knows which engine is used."""

import asyncio
from pathlib import Path
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.engines.installed import engine_problem
from agent_runner.clients.engine.memory.finished_calls import answer_finished_calls
from agent_runner.clients.engine.store.org_store import OrgStore
from agent_runner.clients.engine.user_graphs.user_graphs import Graph, UserGraphs
from agent_runner.clients.engine.user_graphs.wrong_turns import notice_wrong_turns
from agent_runner.clients.models.cascade import ModelSettings, build_model
from agent_runner.clients.models.order.fallbacks import ModelOrder
from agent_runner.clients.process.shared_work import SharedWork
from agent_runner.clients.process.threads import own
from agent_runner.status.requests.model_order import names_of

MAX_CACHED = 64
MAX_BUILDING = 2
"""Graphs of graphton that are built at the same time: each takes tenths of a second of CPU."""


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
    """Builds one graph per bundle, which concurrent runs share; with graphton one for each run. Belongs to the event
    loop of its saver."""

    def __init__(
        self, settings: EngineSettings, saver: BaseCheckpointSaver[Any] | None, store: OrgStore | None = None
    ) -> None:
        names = [name.strip() for name in settings.configurable.split(",") if name.strip()]
        self.user_graphs = UserGraphs(settings.graphs, saver, store, names)
        self._settings = settings
        self._saver = saver
        answer_finished_calls()
        notice_wrong_turns()
        self._built: SharedWork[Bundle, Graph] = SharedWork(MAX_CACHED)
        self._building = asyncio.Semaphore(MAX_BUILDING)

    async def graph(self, bundle: Bundle, config: RunnableConfig | None = None) -> Graph:
        """The graph of `bundle`; `config` is given to a user's graph function.

        Raises GraphError, ModelError or EngineError.
        """
        if bundle.graph:
            return await self.user_graphs.load(bundle.graph, config)
        if self._settings.engine == "graphton":
            async with self._building:
                return await own(self._graphton, bundle)
        # A failure is not cached: before the next run a key may have been set, or Ollama started.
        return await self._built.get(bundle, lambda: own(self._deep_agent, bundle))

    def _deep_agent(self, bundle: Bundle) -> Graph:
        _check(self._settings.engine)
        from agent_runner.clients.engine.engines.deep_agents import build_deep_agent

        model, order = self._models(bundle)
        return build_deep_agent(bundle, model, self._saver, order=order)

    def _graphton(self, bundle: Bundle) -> Graph:
        _check(self._settings.engine)
        from agent_runner.clients.engine.engines.graphton_agent import build_graphton_agent

        model, order = self._models(bundle)
        return build_graphton_agent(bundle, model, self._saver, order=order)

    def _models(self, bundle: Bundle) -> tuple[BaseChatModel, ModelOrder | None]:
        """The model, and the models to ask one after the other. Raises ModelError."""
        others = bundle.fallback_models
        if others is None:
            others = names_of(self._settings.fallback_models) or ()
        names = tuple(dict.fromkeys((bundle.model_name, *others)))
        order = ModelOrder(self._settings, names) if len(names) > 1 else None
        model, _ = order.first_built() if order else build_model(self._settings, bundle.model_name)
        return model, order


def _check(engine: str) -> None:
    if why := engine_problem(engine):
        raise EngineError(why)
