"""How a verb reaches the database: threads with a connection each, and transactions."""
