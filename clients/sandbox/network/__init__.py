"""The way out of the walls: which hosts commands may reach, and the proxy that takes them there."""
