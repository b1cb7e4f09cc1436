"""The models that stand in for the first one, in order: the annotation `agent-runner/fallback-models`.

    ["openai:gpt-5", "ollama:llama3"]     or with commas: openai:gpt-5, ollama:llama3

An agent and an execution may have it. The execution's list replaces the agent's, and `[]` takes it away; without either
the worker's setting counts. Names are those of `--model`.
"""

import json
from collections.abc import Mapping
from typing import Any

ANNOTATION = "agent-runner/fallback-models"
MOST = 5
MOST_CHARS = 200


class ModelOrderError(ValueError):
    """The text names the field and what it may be."""


def names_of(annotation: str) -> tuple[str, ...] | None:
    """The names that it gives; None if it gives nothing. Raises ModelOrderError."""
    if not annotation.strip():
        return None
    if not annotation.lstrip().startswith(("[", "{", '"')):
        return checked([name.strip() for name in annotation.split(",")], ANNOTATION)
    try:
        return checked(json.loads(annotation), ANNOTATION)
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, ModelOrderError) else ModelOrderError(f"{ANNOTATION} is no list: {error}")
        ) from None


def checked(given: Any, where: str) -> tuple[str, ...]:
    """The names of a list. `where` begins the text of a ModelOrderError."""
    whole = isinstance(given, list) and all(
        isinstance(name, str) and name.strip() and len(name) <= MOST_CHARS and name.isprintable() for name in given
    )
    if not whole or len(given) > MOST or len(set(given)) < len(given):
        raise ModelOrderError(f"{where} must be a list of at most {MOST} names of models, each once")
    return tuple(name.strip() for name in given)


def merged_models(agent: Mapping[str, str], execution: Mapping[str, str]) -> str | None:
    """The annotation for the run, from those of both: the execution's own list counts. None if neither has one.
    Raises ModelOrderError."""
    under, over = names_of(agent.get(ANNOTATION, "")), names_of(execution.get(ANNOTATION, ""))
    names = under if over is None else over
    return None if names is None else json.dumps(names)
