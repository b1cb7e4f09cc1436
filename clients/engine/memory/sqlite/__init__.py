"""The agents' memory in a SQLite file."""
