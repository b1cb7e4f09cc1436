"""Agents as LangGraph graphs: how they are made, and how their runs are told in our own events."""
