"""The part of the settings that models and the engine read, with nothing configured."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

NONE = SecretStr("")


@dataclass(frozen=True, slots=True, kw_only=True)
class SomeSettings:
    is_local: bool = True
    llm_provider: str = ""
    llm_model: str = ""
    llm_api_key: SecretStr = NONE
    llm_max_tokens: int | None = None
    llm_temperature: float | None = None
    anthropic_api_key: SecretStr = NONE
    openai_api_key: SecretStr = NONE
    openai_base_url: str = ""
    # A port where nothing listens: a test must not find the machine's own Ollama.
    ollama_base_url: str = "http://127.0.0.1:9"
    # `make test-graphton` runs the engine's tests with the other one.
    engine: str = os.environ.get("AGENT_RUNNER_TEST_ENGINE", "deepagents")
    graphs: Path = Path("/nowhere/langgraph.json")
    sandbox: str = "local"
    configurable: str = ""
    fallback_models: str = ""
