"""A module that another thread imports at the moment stands in `sys.modules` before it is whole."""

import sys
from types import ModuleType

import pytest

from clients.engine.bundle import Bundle
from clients.engine.deep_agents import build_deep_agent
from clients.models.demo import DemoModel


async def test_a_run_does_not_mind_that_another_imports_anthropics_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent on another model is built and answers while that module is half there."""
    name = "langchain_anthropic.chat_models"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    graph = build_deep_agent(Bundle(), DemoModel(token_delay_s=0), None, sandboxed=False)
    ended = await graph.ainvoke({"messages": [("user", "hello")]})
    assert ended["messages"][-1].text
