"""Graphs of the user's own: found, loaded, and given what they need."""
