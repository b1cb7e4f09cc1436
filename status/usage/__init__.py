"""What a run used of what it is charged for."""
