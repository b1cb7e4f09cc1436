"""What workers and supervisors say to the server, and what a claim answers."""
