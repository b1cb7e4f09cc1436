"""Programs of the sandbox that run beside the worker and hold none of its data. Standard library only."""
