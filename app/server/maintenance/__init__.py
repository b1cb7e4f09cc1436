"""The server's periodic work: the sweep, retention, and counting ends."""
