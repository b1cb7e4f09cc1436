"""The heart: phases, timeouts, failures, the status builder, the log and the store. Imports nothing of ours."""
