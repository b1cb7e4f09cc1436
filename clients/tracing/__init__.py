"""Traces of runs for services outside: off unless the operator asks for them, and masked."""
