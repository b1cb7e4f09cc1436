"""Agents, instances, sessions, skills, environments and execution contexts: one engine for all kinds."""
