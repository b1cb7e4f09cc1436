"""A long conversation is summed up; one with an attached file is not taken for a long one."""

import base64
import random
from typing import Any

import pytest
from deepagents.backends import StateBackend
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.engines.deep_agents import build_deep_agent
from agent_runner.clients.engine.engines.media_tokens import summaries
from agent_runner.clients.engine.turn import call_config

DATA = base64.b64encode(random.Random(1).randbytes(700_000)).decode()
PDF = {"type": "file", "base64": DATA, "mime_type": "application/pdf"}
FORMS: list[dict[str, Any]] = [
    PDF,
    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}},
    {"type": "media", "data": DATA, "mime_type": "video/mp4"},
    {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
    {"type": "image", "base64": DATA, "mime_type": "image/png"},
]


class Recorded(BaseChatModel):
    """Answers everything with one word, and keeps what it was asked."""

    asked: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "recorded"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("fine"))])


async def asked_about(first: Any) -> list[list[BaseMessage]]:
    """What the model is asked when eight more messages follow `first`."""
    model = Recorded()
    agent = build_deep_agent(Bundle(model_name="demo", sandboxed=False), model, None)
    said: list[BaseMessage] = [HumanMessage(first), AIMessage("I have it.")]
    for number in range(4):
        said += [HumanMessage(f"Question {number}?"), AIMessage(f"Answer {number}.")]
    run = CurrentRun(thread_id="t")
    with running(run):
        await agent.ainvoke({"messages": [*said, HumanMessage("And the last page?")]}, call_config(run, Bundle()))
    return model.asked


@pytest.mark.parametrize("block", FORMS, ids=lambda block: "-".join(block))
async def test_an_attached_file_stays_before_the_model(block: dict[str, Any]) -> None:
    """In every form in which a client may send it: the model is asked once, and sees it."""
    asked = await asked_about([{"type": "text", "text": "Keep this."}, block])
    assert len(asked) == 1
    assert any(DATA in str(one.content) for one in asked[0])


async def test_long_text_is_summed_up() -> None:
    """As many characters of text are a long conversation: the model is asked for a summary first."""
    assert len(await asked_about(DATA)) == 2
    assert len(await asked_about([{"type": "text-plain", "text": DATA, "mime_type": "text/plain"}])) == 2


def test_a_file_is_not_for_nothing() -> None:
    """It counts by its size, so that many files are a long conversation too; the messages stay as they are."""
    count = summaries(Recorded(), StateBackend()).token_counter  # type: ignore[attr-defined]
    message = HumanMessage([PDF])
    words = count([HumanMessage("hi")])
    assert 20_000 < count([message]) - words < 40_000
    assert count([message, message]) > 1.9 * count([message])
    assert message.content == [PDF]
