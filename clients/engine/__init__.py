"""Builds agents as LangGraph graphs, and translates their runs into our own events."""

import os

# LangGraph reads this once, when its serializer is imported, so it stands before all other imports. See `memory`.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
