"""The LangGraph Agent Server API: one more edge beside HTTP under /v1 and gRPC.

A thread is a session, a run is an execution, an assistant is a graph or an agent with a configuration. The edge has no
content and no states of its own: it translates.
"""
