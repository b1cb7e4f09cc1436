"""Calls of addresses that callers name."""
