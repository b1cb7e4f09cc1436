"""Tool calls that a person approves before they run."""
