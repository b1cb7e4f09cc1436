"""Answers to questions about a graph: its shape, its memory, its store. Nothing here runs a graph."""
