"""The verbs about executions, from their creation to their purge."""
