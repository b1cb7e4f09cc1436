"""What every process of ours has: logs, environment, threads, its supervisor."""
