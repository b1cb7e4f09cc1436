"""How many tokens a conversation is, for the middleware that sums up a long one.

langchain-core's estimate (`count_tokens_approximately`) takes a picture as a fixed number of tokens, and any other
medium by the length of its block as text. A PDF of half a megabyte, some pages for a model, weighs as much as a book:
the agent would sum up the conversation before its call, and the model would not see the file any more.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from deepagents.backends.protocol import BackendProtocol
from deepagents.middleware.summarization import create_summarization_middleware
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import convert_to_messages, count_tokens_approximately

from agent_runner.status.media import BASE64, Media, found_in, put

BYTES_PER_TOKEN = {"audio": 500, "video": 500, "file": 25}
"""About what providers count: a page of a PDF is some 50 KB and 2,000 tokens, a minute of MP3 some 1 MB and 1,900."""
BYTES_OF_BASE64 = 3 / 4
CLAUDE, CHARACTERS_OF_CLAUDE = "anthropic-chat", 3.3
"""For models of this kind langchain's middleware counts fewer characters to a token."""


def summaries(model: BaseChatModel, backend: BackendProtocol) -> AgentMiddleware[Any, Any]:
    """deepagents' own middleware, under its name, which counts attached media by what they are for a model."""
    options: dict[str, Any] = {"use_usage_metadata_scaling": True}
    if model._llm_type.startswith(CLAUDE):
        options["chars_per_token"] = CHARACTERS_OF_CLAUDE

    def counted(messages: Iterable[Any], *, tools: list[Any] | None = None) -> int:
        lighter, tokens = _without_media(convert_to_messages(list(messages)))
        return tokens + count_tokens_approximately(lighter, tools=tools, **options)

    return create_summarization_middleware(model, backend, token_counter=counted)


def _without_media(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], int]:
    """(the messages without the data of sounds, films and files, the tokens of that data)."""
    lighter, tokens = [], 0
    for message in messages:
        if isinstance(message.content, list):
            blocks = [_weighed(block) for block in message.content]
            if any(weight for _, weight in blocks):
                tokens += sum(weight for _, weight in blocks)
                message = message.model_copy(update={"content": [block for block, _ in blocks]})
        lighter.append(message)
    return lighter, tokens


def _weighed(block: Any) -> tuple[Any, int]:
    media = found_in(block)
    if media is None or media.type not in BYTES_PER_TOKEN or not media.inline or media.coding != BASE64:
        return block, 0
    return put(dict(block), media.place, media.prefix), _tokens(media)


def _tokens(media: Media) -> int:
    return round(len(media.encoded) * BYTES_OF_BASE64 / BYTES_PER_TOKEN[media.type])
