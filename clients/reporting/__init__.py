"""How a run reports to a server: one port, with an adapter for our own server and one for any other."""
