"""Event streams of runs."""
