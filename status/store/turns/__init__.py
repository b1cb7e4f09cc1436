"""Which execution of a session has its turn."""
