"""The core: phases, timeouts, failures, the status builder, the log and the store. Imports no other of our packages."""
