"""Assistants: a graph or an agent, with a configuration."""
