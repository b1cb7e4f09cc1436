"""Translates a run of a graph into our own events."""
