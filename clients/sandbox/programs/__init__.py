"""Programs of the sandbox that run beside the worker and hold nothing of it. Standard library only."""
