"""Finds the model: the one that is configured, else the first that works, else the offline demo model.

    STIGMER_LLM_PROVIDER -> ANTHROPIC_API_KEY -> OPENAI_API_KEY or OPENAI_BASE_URL -> a reachable Ollama -> demo

The demo model is for MODE=local, and for operators who set STIGMER_LLM_PROVIDER=demo. Elsewhere users would take its
answers for those of a real model.

A name that an execution or an agent gives wins over the default. It is `provider:name` (also of `OTHERS`, whose
packages bring their own settings), or a name whose form tells the provider (`claude...`, `gpt...`, `o3`); any other
name is a model of the provider that the cascade finds. A named model whose provider has no key is an error: a request
for a model never gets the demo model silently. Providers are imported only when they are used.
"""

import json
import re
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, ValidationError

from agent_runner.clients.models.demo import MODEL_NAME, DemoModel
from agent_runner.clients.models.errors import ModelError, environment_error
from agent_runner.clients.models.provider_words import fields_of
from agent_runner.clients.models.providers import anthropic_model, ollama_model, openai_model, other_model

PROVIDERS = ("anthropic", "openai", "ollama", "demo")
OTHERS: Mapping[str, str] = {
    "azure_openai": "langchain-openai",
    "bedrock": "langchain-aws",
    "bedrock_converse": "langchain-aws",
    "anthropic_bedrock": "langchain-aws",
    "cohere": "langchain-cohere",
    "deepseek": "langchain-deepseek",
    "fireworks": "langchain-fireworks",
    "google_genai": "langchain-google-genai",
    "google_vertexai": "langchain-google-vertexai",
    "groq": "langchain-groq",
    "mistralai": "langchain-mistralai",
    "nvidia": "langchain-nvidia-ai-endpoints",
    "openrouter": "langchain-openrouter",
    "perplexity": "langchain-perplexity",
    "together": "langchain-together",
    "xai": "langchain-xai",
}
"""Providers by the names of LangChain's `init_chat_model`, and the packages that they need. Their keys and addresses
come from the environment of the worker, as each package reads them."""
DEFAULT_MODELS = {"anthropic": "claude-sonnet-4-5", "openai": "gpt-5.5", "demo": MODEL_NAME}
DEFAULT_OLLAMA_URL = "http://localhost:11434"
OLLAMA_PROBE_S = 0.5


class ModelSettings(Protocol):
    """The part of the settings that chooses a model. Keys are empty when not set."""

    @property
    def is_local(self) -> bool: ...
    @property
    def llm_provider(self) -> str: ...
    @property
    def llm_model(self) -> str: ...
    @property
    def llm_api_key(self) -> SecretStr: ...
    @property
    def llm_max_tokens(self) -> int | None: ...
    @property
    def llm_temperature(self) -> float | None: ...
    @property
    def anthropic_api_key(self) -> SecretStr: ...
    @property
    def openai_api_key(self) -> SecretStr: ...
    @property
    def openai_base_url(self) -> str: ...
    @property
    def ollama_base_url(self) -> str: ...


def build_model(settings: ModelSettings, model_name: str = "") -> tuple[BaseChatModel, str]:
    """The model and one line that says which it is and why. Blocking (it may probe Ollama): call it from a thread.

    Raises ModelError when a key, a package or the named provider is missing.
    """
    provider, name, why = choose(settings, model_name)
    own = {"anthropic": _anthropic, "openai": _openai, "ollama": _ollama, "demo": _demo}
    try:
        model = own[provider](settings, name) if provider in own else other_model(provider, name, **_options(settings))
    except Exception as error:
        if unusable := environment_error(error):
            raise unusable from error
        if isinstance(error, ImportError):
            raise ModelError(
                f"the package for provider '{provider}' is not installed: {error}",
                f"Install {OTHERS.get(provider, f'langchain-{provider}')} where the worker runs.",
            ) from error
        if provider in own:
            raise
        raise ModelError(  # each package checks its key and its options in its own way
            f"model '{name}' of provider '{provider}' cannot be set up: {_in_short(error)}",
            f"Set what {OTHERS[provider]} reads from the environment where the worker runs: its key, its region, ...",
        ) from error
    if provider == "demo":
        return model, f"offline demo model ({why}): it runs the lines that it understands and is no language model"
    return model, f"{name} at {provider} ({why})"


def choose(settings: ModelSettings, model_name: str = "") -> tuple[str, str, str]:
    """(provider, model name, why) without building anything; asks Ollama only if nothing else is configured."""
    asked, name = _split(model_name)
    default, why = _default_provider(settings) if not asked else (asked, f"model '{model_name}' was asked for")
    if name and default == "demo" and name != MODEL_NAME and not settings.llm_provider:
        raise ModelError(
            f"model '{model_name}' was asked for, but no model provider is configured",
            "Set ANTHROPIC_API_KEY or OPENAI_API_KEY where the worker runs, start Ollama, or ask for model 'demo'.",
        )
    if default == "demo" and not (settings.is_local or settings.llm_provider == "demo"):
        raise ModelError(
            "model 'demo' was asked for, which is for MODE=local"
            if asked
            else f"no model is configured ({why}), and the demo model is for MODE=local",
            "Set ANTHROPIC_API_KEY or OPENAI_API_KEY where the worker runs, or STIGMER_LLM_PROVIDER=demo to mean it.",
        )
    if not name and settings.llm_model and settings.llm_provider in ("", default):
        name = settings.llm_model
    if not name and default == "ollama":
        found = _ollama_models(settings)
        if not found:
            raise ModelError(
                f"Ollama at {_ollama_url(settings)} does not answer or has no model",
                "Start Ollama and pull a model, or set STIGMER_LLM_MODEL.",
            )
        name = found[0]
    if not name and default in OTHERS:
        raise ModelError(
            f"no model of provider '{default}' is named", "Set STIGMER_LLM_MODEL, or name one with --model."
        )
    return default, name or DEFAULT_MODELS[default], why


def _split(model_name: str) -> tuple[str, str]:
    """(provider or empty, name). `demo` alone is the demo model."""
    provider, colon, name = model_name.partition(":")
    if colon and (provider in PROVIDERS or (provider in OTHERS and name)):
        return provider, name
    if model_name in ("demo", MODEL_NAME):
        return "demo", MODEL_NAME
    if model_name.startswith("claude"):
        return "anthropic", model_name
    if re.match(r"(gpt-|chatgpt-|o\d)", model_name):
        return "openai", model_name
    return "", model_name


def _default_provider(settings: ModelSettings) -> tuple[str, str]:
    if settings.llm_provider:
        if settings.llm_provider not in (*PROVIDERS, *OTHERS):
            raise ModelError(
                f"STIGMER_LLM_PROVIDER is '{settings.llm_provider}'",
                f"Set it to one of {', '.join((*PROVIDERS, *OTHERS))}.",
            )
        return settings.llm_provider, "STIGMER_LLM_PROVIDER is set"
    if settings.anthropic_api_key.get_secret_value():
        return "anthropic", "ANTHROPIC_API_KEY is set"
    if settings.openai_api_key.get_secret_value():
        return "openai", "OPENAI_API_KEY is set"
    if settings.openai_base_url:
        return "openai", "OPENAI_BASE_URL is set"
    if _ollama_models(settings):
        return "ollama", f"Ollama answers at {_ollama_url(settings)}"
    return "demo", "no model is configured and no Ollama answers"


def _in_short(error: Exception) -> str:
    """Its text, without the values that pydantic shows: a key could be among them."""
    return fields_of(error) if isinstance(error, ValidationError) else " ".join(str(error).split())


def _key(settings: ModelSettings, provider: str, own: SecretStr, variable: str) -> SecretStr:
    """The provider's own key; STIGMER_LLM_API_KEY wins if it is for this provider."""
    general = settings.llm_api_key
    key = general if general.get_secret_value() and settings.llm_provider in ("", provider) else own
    if not key.get_secret_value():
        raise ModelError(
            f"model provider '{provider}' has no API key", f"Set {variable} (or STIGMER_LLM_API_KEY) for the worker."
        )
    return key


def _options(settings: ModelSettings) -> dict[str, Any]:
    given = {"max_tokens": settings.llm_max_tokens, "temperature": settings.llm_temperature}
    return {name: value for name, value in given.items() if value is not None}


def _anthropic(settings: ModelSettings, name: str) -> BaseChatModel:
    key = _key(settings, "anthropic", settings.anthropic_api_key, "ANTHROPIC_API_KEY")
    # People and earlier software write claude-sonnet-4.5; the API's names have no dot.
    name = re.sub(r"(?<=\d)\.(?=\d)", "-", name)
    return anthropic_model(model_name=name, api_key=key, **_options(settings))


def _openai(settings: ModelSettings, name: str) -> BaseChatModel:
    # A self-hosted server often needs no key, but the client requires some value.
    own = settings.openai_api_key
    if settings.openai_base_url and not own.get_secret_value():
        own = SecretStr("unused")
    key = _key(settings, "openai", own, "OPENAI_API_KEY")
    elsewhere: dict[str, Any] = (
        {"base_url": settings.openai_base_url, "use_responses_api": False} if settings.openai_base_url else {}
    )
    # With another base URL the client does not ask for usage by itself.
    return openai_model(model=name, api_key=key, stream_usage=True, **elsewhere, **_options(settings))


def _ollama(settings: ModelSettings, name: str) -> BaseChatModel:
    options = _options(settings)
    if "max_tokens" in options:
        options["num_predict"] = options.pop("max_tokens")
    if urlsplit(_ollama_url(settings)).hostname in ("localhost", "127.0.0.1", "::1"):
        options["client_kwargs"] = {"trust_env": False}  # it was found without a proxy, and a proxy could not reach it
    return ollama_model(model=name, base_url=_ollama_url(settings), **options)


def _demo(settings: ModelSettings, name: str) -> BaseChatModel:
    return DemoModel(model_name=MODEL_NAME)


def _ollama_url(settings: ModelSettings) -> str:
    return (settings.ollama_base_url or DEFAULT_OLLAMA_URL).rstrip("/")


def _ollama_models(settings: ModelSettings) -> list[str]:
    """Names of the models that a running Ollama has; empty if none answers. Asked without a proxy."""
    url = f"{_ollama_url(settings)}/api/tags"
    if not url.startswith(("http://", "https://")):
        return []
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=OLLAMA_PROBE_S) as answer:
            found = json.load(answer)
        return [str(model["name"]) for model in found["models"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
