"""The Agent Server API, as its official clients use it."""
