"""The gRPC API: the published contract's services, our own for clients, health and reflection."""

from agent_runner.app.server.grpc_api.interceptors import server_interceptors
from agent_runner.app.server.grpc_api.services import register_services

__all__ = ["register_services", "server_interceptors"]
