"""Where an agent's commands and files live: one directory per session, commands under a shim."""
