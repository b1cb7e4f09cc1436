"""Every setting of every process."""
