"""The models of an agent in order: the next one is asked if one fails before anything of its answer was told.

For which failures that is so stands in `status/requests/model_failures.py`. A run stays with the model that answered,
and does not wait again for one that has failed; if all have failed, its next call begins with the first again.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from langchain_core.language_models import BaseChatModel

from agent_runner.clients.models.cascade import ModelSettings, build_model, choose
from agent_runner.clients.models.errors import ModelError, explain_model_error, failure_of, passing
from agent_runner.clients.models.order.model_call import FailedModel, ModelCall, answering
from agent_runner.clients.process.threads import own
from agent_runner.status.event_logger import event_logger
from agent_runner.status.requests.model_failures import FALLBACKS, ModelFailure

log = event_logger(__name__)
Answer = TypeVar("Answer")


class NoModelAnswered(ModelError):
    """All models of the agent failed; the text has each one's cause."""

    def __init__(self, failed: list[FailedModel]) -> None:
        causes = "; ".join(f"{one.model}: {one.text}" for one in failed)
        advice = " ".join(dict.fromkeys(f"{one.model}: {one.advice}" for one in failed))
        waits = [one.passes for one in failed if one.passes]
        shortest = min(waits, key=lambda passes: float(str(passes.get("retry_after_s", 0)))) if waits else {}
        super().__init__(f"none of {len(failed)} models answered: {causes}", advice, passes=dict(shortest))


class ModelOrder:
    """`names`: as in `build_model`, the first may be empty. Shared by the runs of one graph."""

    def __init__(self, settings: ModelSettings, names: tuple[str, ...]) -> None:
        self._settings = settings
        self._names = names
        self._built: dict[str, BaseChatModel] = {}

    def first_built(self) -> tuple[BaseChatModel, str]:
        """The first model that can be built, and the line about it. Blocking. Raises NoModelAnswered."""
        failed: list[FailedModel] = []
        for name in self._names:
            try:
                self._built[name], line = build_model(self._settings, name)
            except ModelError as error:
                failed.append(self._failed(name, error, ModelFailure.NOT_CONFIGURED))
            else:
                others = ", ".join(other for other in self._names if other != name)
                return self._built[name], f"{line}; in its place, in order: {others}"
        raise NoModelAnswered(failed)

    async def answer(
        self,
        ask: Callable[[BaseChatModel], Awaitable[Answer]],
        failed: dict[str, FailedModel],
        on_failed: Callable[[FailedModel], None] | None = None,
    ) -> Answer:
        """The answer of the first model that gives one. `failed`: those of this run, by name; it is written to. Raises
        NoModelAnswered, or the error of a model after which no other is asked."""
        if all(name in failed for name in self._names):
            failed.clear()
        for name in self._names:
            if name in failed:
                continue
            call = ModelCall(failed=tuple(failed.values()))
            try:
                model = await self._model(name)
                with answering(call):
                    return await ask(model)
            except Exception as error:
                cause = failure_of(error)
                if call.told or cause is None or not FALLBACKS[cause].taken:
                    raise
                failed[name] = self._failed(name, error, cause)
                if on_failed:
                    on_failed(failed[name])
                log.warning("model.failed", model=failed[name].model, cause=cause.value, error=failed[name].text)
        raise NoModelAnswered(list(failed.values()))

    async def _model(self, name: str) -> BaseChatModel:
        # A failure is not kept: before the next call a key may have been set, or Ollama started.
        if name not in self._built:
            self._built[name], _ = await own(build_model, self._settings, name)
        return self._built[name]

    def _failed(self, name: str, error: Exception, cause: ModelFailure) -> FailedModel:
        text, advice = explain_model_error(error) or (str(error), "")
        return FailedModel(model=self._shown(name), cause=cause, text=text, advice=advice, passes=passing(error))

    def _shown(self, name: str) -> str:
        if name:
            return name
        try:
            provider, chosen, _ = choose(self._settings)
        except ModelError:
            return "the default model"
        return f"{provider}:{chosen}"
