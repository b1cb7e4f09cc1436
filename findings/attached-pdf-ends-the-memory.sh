#!/bin/bash
# One would guess: a deep agent sums up its conversation when that becomes long; a PDF or a recording that the user attached
#   counts for about what it is for the model (a dozen pages, a minute of speech), as an attached picture does.
# What happens: a picture counts 85 tokens, and any other medium counts the characters of its base64, a quarter token each.
#   A PDF of 600 KB is taken for 200,000 tokens and is over the limit by itself. From the seventh message on the agent
#   makes one more model call (the summary), and the model that answers no longer gets the file: the user asks about the
#   last page, and the agent has only what it once wrote about it. With models whose profile says how much they take
#   (85 % of it is the limit) the file goes at once when two messages follow. Nothing in the answer tells that it went.
#   Whoever lets people attach files gives the middleware a counter of tokens of his own
#   (create_summarization_middleware(..., token_counter=) passed as middleware replaces the built-in one by its name).
# Version: deepagents 0.7.32, langchain 1.5.2, langchain-core 1.8.3, langgraph 1.2.24.
# Source: langchain_core/messages/utils.py count_tokens_approximately (image and text are known, else len(repr(block)));
#   deepagents/middleware/summarization.py compute_summarization_defaults (170,000 tokens, keep six messages).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q deepagents==0.7.32 langchain==1.5.2 langchain-core==1.8.3 langgraph==1.2.24
cat > "$work/seen.py" <<'PY'
import base64, os, warnings
warnings.simplefilter("ignore")
from deepagents import create_deep_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class Model(BaseChatModel):
    asked: list = []

    @property
    def _llm_type(self):
        return "recorded"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        self.asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("fine"))])


DATA = base64.b64encode(os.urandom(600_000)).decode()
seen = {}
for kind, mime in (("image", "image/png"), ("file", "application/pdf"), ("audio", "audio/wav")):
    for exchanges in (1, 4):
        model = Model()
        block = {"type": kind, "base64": DATA, "mime_type": mime}
        said = [HumanMessage([{"type": "text", "text": "Keep this."}, block]), AIMessage("I have it.")]
        for number in range(exchanges):
            said += [HumanMessage(f"Question {number}?"), AIMessage(f"Answer {number}.")]
        create_deep_agent(model=model).invoke({"messages": [*said, HumanMessage("And the last page?")]})
        has_it = any(DATA in str(message.content) for message in model.asked[-1])
        seen[kind, exchanges] = len(model.asked), has_it
        print(f"{kind:6} then {len(said) - 1} messages: {len(model.asked)} model calls, the answering one has it: {has_it}")
assert seen == {
    ("image", 1): (1, True), ("image", 4): (1, True),
    ("file", 1): (1, True), ("file", 4): (2, False),
    ("audio", 1): (1, True), ("audio", 4): (2, False),
}, seen
print("as described")
PY
"$work/venv/bin/python" "$work/seen.py"
