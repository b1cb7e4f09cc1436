"""Connections to the server: the gRPC channel, presence, the HTTP client."""
