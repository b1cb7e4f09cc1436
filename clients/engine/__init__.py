"""Agents as LangGraph graphs: how they are made, and how their runs are told in our own events."""

import os

# Read once, when LangGraph's serializer is imported: nothing of this package may come before. See `memory`.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
