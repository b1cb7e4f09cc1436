"""The whole system on one machine: the embedded Redis, one process per role, started and stopped together."""
