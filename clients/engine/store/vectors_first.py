"""Asks for the vectors of a batch before the store begins with it.

LangGraph's stores ask within the batch, with their lock held (SQLite) or a connection of the pool (Postgres). While an
embedding model is slow or away, reads of other runs, which need no vector, would wait for it; and a batch that is
repeated after a conflict would pay for its vectors again.
"""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar

from langchain_core.embeddings import Embeddings
from langgraph.store.base import Op, PutOp, SearchOp, get_text_at_path

_READY: ContextVar[dict[str, list[float]]] = ContextVar("vectors of the batch")


class VectorsFirst(Embeddings):
    """`inner` gives the vectors. `fields` are those of `store.index`: what of a value is embedded unless its put says
    otherwise."""

    def __init__(self, inner: Embeddings, fields: Sequence[str] | None) -> None:
        self._inner, self._fields = inner, fields or ["$"]

    async def prepare(self, ops: Iterable[Op]) -> None:
        """Ask for all vectors of these operations at once. They belong to the task that calls this."""
        texts = list(dict.fromkeys(text for op in ops for text in self._texts(op)))
        vectors = await self._inner.aembed_documents(texts) if texts else []
        _READY.set(dict(zip(texts, vectors, strict=True)))

    def _texts(self, op: Op) -> list[str]:
        match op:
            case SearchOp(query=str(query)) if query:
                return [query]
            case PutOp(value=dict(value), index=index) if index is not False:
                return [text for path in index or self._fields for text in get_text_at_path(value, path)]
        return []

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        ready = _READY.get({})
        if all(text in ready for text in texts):
            return [ready[text] for text in texts]
        return await self._inner.aembed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return (await self.aembed_documents([text]))[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._inner.embed_query(text)
