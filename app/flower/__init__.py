"""Flower as an operator of executions needs it: true states and counts, buttons that do what they say."""
