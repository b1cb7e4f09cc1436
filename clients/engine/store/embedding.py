"""The embedding behind a store's search by meaning: a provider's model, or a function of the user's own."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings


class EmbeddingError(Exception):
    """The embedding cannot be used; the text says why."""


class CheckedEmbeddings(Embeddings):
    """Raises EmbeddingError for vectors of another length than `dims`: in a table they would spoil every search."""

    def __init__(self, inner: Embeddings, dims: int) -> None:
        self._inner, self._dims = inner, dims

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._checked(texts, await self._inner.aembed_documents(texts))

    async def aembed_query(self, text: str) -> list[float]:
        return self._checked([text], [await self._inner.aembed_query(text)])[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._checked(texts, self._inner.embed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        return self._checked([text], [self._inner.embed_query(text)])[0]

    def _checked(self, texts: list[str], vectors: Sequence[Sequence[float]]) -> list[list[float]]:
        if len(vectors) != len(texts):
            raise EmbeddingError(f"store.index.embed gave {len(vectors)} vectors for {len(texts)} texts")
        for vector in vectors:
            if len(vector) != self._dims:
                raise EmbeddingError(
                    f"store.index.embed gave a vector of {len(vector)} numbers, store.index.dims says {self._dims}"
                )
        return [list(vector) for vector in vectors]


def place_of(embed: str) -> tuple[str, str] | None:
    """(file or module, name) of a function of the user's own; None for a provider's model."""
    place, _, name = embed.rpartition(":")
    if place.endswith(".py") or "/" in place:
        return place, name
    return (place, name) if name.isidentifier() and place not in providers() and _is_module(place) else None


def checked(embed: Any, dims: int, name: str = "") -> Embeddings:
    """Embeddings that check their vectors. `embed`: a function, an `Embeddings`, or "provider:model". `name`: that of
    the function, for errors. Raises EmbeddingError."""
    if not isinstance(embed, str | Embeddings) and not callable(embed):
        raise EmbeddingError(
            f"store.index.embed: '{name}' is {type(embed).__name__}, not a function of a list of texts, nor Embeddings"
        )
    try:
        return CheckedEmbeddings(ensure_embeddings(embed), dims)
    except Exception as error:  # each provider has its own errors: no package, no key
        raise EmbeddingError(f"store.index.embed: {error}") from error


def providers() -> frozenset[str]:
    """The providers that langchain knows by name."""
    from langchain.embeddings import base

    known: Callable[..., Any] | dict[str, Any] = getattr(base, "_BUILTIN_PROVIDERS", {})
    return frozenset(known) if isinstance(known, dict) else frozenset()


def _is_module(place: str) -> bool:
    try:
        return importlib.util.find_spec(place) is not None
    except (ImportError, ValueError):
        return False
