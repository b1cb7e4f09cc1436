#!/bin/bash
# One would guess: two sub-agents that a deep agent starts at once, each told to fill in its own line of one file, leave a file
#   with both lines; or the second edit is refused, as an edit of a text that is not there is.
# What happens: both edits are reported as done ("Successfully replaced 1 instance(s)"), and one of them is gone. A sub-agent
#   works on a copy of the files as they were when it was started, and gives back whole files; the reducer that joins the
#   copies takes, per path, the one that comes last. Nothing tells the agent, which goes on from a success that is not there.
# Version: deepagents 0.7.32, langchain 1.5.2, langgraph 1.2.24 (the default backend, which keeps files in the state).
# Source: deepagents/middleware/filesystem.py _file_data_reducer ({**left, **right}); middleware/subagents.py (a sub-agent's
#   state is a copy, and its `files` go back into the parent's state).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q deepagents==0.7.32 langchain==1.5.2 langchain-core==1.8.3 langgraph==1.2.24
cat > "$work/seen.py" <<'PY'
from deepagents import create_deep_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

PARTS = ("alpha", "beta")

def call(name, key, **args):
    return {"name": name, "args": args, "id": key}

class Scripted(BaseChatModel):
    """The agent writes a file, gives a part to each of two sub-agents and reads it; a sub-agent fills in its part."""

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **_):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **_):
        asked = [one for one in messages if one.type == "human"][-1].content
        done = [one for one in messages if one.type == "tool"]
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done", tool_calls=self._calls(asked, len(done))))])

    def _calls(self, asked, done):
        if asked in PARTS:
            edit = {"file_path": "/report.md", "old_string": f"{asked}: ?", "new_string": f"{asked}: filled in"}
            return [] if done else [call("edit_file", f"edit-{asked}", **edit)]
        if done == 0:
            return [call("write_file", "write", file_path="/report.md", content="alpha: ?\nbeta: ?\n")]
        if done == 1:
            return [call("task", part, description=part, subagent_type="general-purpose") for part in PARTS]
        return []

agent = create_deep_agent(model=Scripted())
state = agent.invoke({"messages": [HumanMessage("go")]})
edits = [one.content for one in state["messages"] if one.type == "tool" and one.name == "task"]
content = state["files"]["/report.md"]["content"]
print("sub-agents finished:", len(edits), "| the file:", content.split("\n"))
same = len(edits) == 2 and content.count("filled in") == 1
raise SystemExit(0 if same else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
