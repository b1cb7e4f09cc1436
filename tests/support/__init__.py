"""What several suites use: one way to get a database, a free port, a Redis, and to wait for a state."""
