"""LangGraph's store for graphs, with the data of each org kept apart."""
