"""What a process of ours is like: logs, environment, threads, its supervisor."""
