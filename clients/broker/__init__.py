"""Celery: the two transports, the configuration of publishers and workers, and the checks of a Redis at the start."""
