"""A run of a graph, told in our own events."""
