"""Finds and loads the user's own graphs, and gives them their context, environment and arguments."""
