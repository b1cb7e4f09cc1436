"""Runs: executions, as clients of this API start and follow them."""
