"""The store of graphs, and what is to run at set times."""
