"""LangGraph's store for graphs, with each org apart."""
