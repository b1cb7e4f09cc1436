"""Executions: create, place, publish, update and show them, and the work after their end."""
