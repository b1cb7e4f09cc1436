"""Statements of the verbs that run most often, each compiled once."""
