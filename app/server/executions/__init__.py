"""Executions: taken in, placed, published, changed, shown, and what follows their end."""
