"""The agents' memory: checkpoints, their types, their repair and their pruning."""
