"""The calls of workers and supervisors to the server, and the answer to a claim."""
