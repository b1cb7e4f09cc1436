"""Models as they really behave: the three wires, spoken by a server of our own from scenarios."""
