"""One run of an agent, from its claim to its end."""
