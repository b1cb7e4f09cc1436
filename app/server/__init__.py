"""The server: gRPC, HTTP, the live page and the sweeper over one store."""
