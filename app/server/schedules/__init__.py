"""Schedules: executions that begin by the clock."""
