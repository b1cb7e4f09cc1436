"""What the server does by itself, round after round: the sweep, retention, and counting ends."""
