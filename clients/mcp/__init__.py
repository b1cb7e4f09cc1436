"""Servers of tools that speak the Model Context Protocol: started, called and ended for one run."""
