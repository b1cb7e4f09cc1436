"""The network of walled off commands: which hosts they may reach, and the proxy to these hosts."""
