"""Celery's side: the two transports, the configuration of both sides, and what is asked of a Redis at the start."""
