"""The log of an execution, delivered to everybody who follows it."""
