"""Every form of a graph, with every kind of state, after every kind of end: the session goes on."""
