"""A module that another thread imports at the moment stands in `sys.modules` before it is whole."""

import gc
import sys
import threading
import time
from types import ModuleType

import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.engines.deep_agents import build_deep_agent
from agent_runner.clients.engine.user_graphs.half_imports import bear_half_imports
from agent_runner.clients.models.demo import DemoModel


async def test_a_run_does_not_mind_that_another_imports_anthropics_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent on another model is built and answers while that module is half there."""
    name = "langchain_anthropic.chat_models"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    graph = build_deep_agent(Bundle(sandboxed=False), DemoModel(token_delay_s=0), None)
    ended = await graph.ainvoke({"messages": [("user", "hello")]})
    assert ended["messages"][-1].text


def test_imports_of_other_threads_meanwhile_do_no_harm() -> None:
    """A collection in the middle of it lets other threads import: no run may fail in its set-up by that."""
    over = threading.Event()

    def imports() -> None:
        names = [f"module_of_a_test_{number}" for number in range(50)]
        while not over.is_set():
            sys.modules.update({name: ModuleType(name) for name in names})
            for name in names:
                del sys.modules[name]

    class LetsOthersRun:
        """Garbage with a finalizer, as a run leaves it behind."""

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            time.sleep(0)

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    importing = threading.Thread(target=imports)
    importing.start()
    try:
        gc.set_threshold(10)
        sys.setswitchinterval(1e-6)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            LetsOthersRun()
            bear_half_imports()
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
        over.set()
        importing.join()
