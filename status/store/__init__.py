"""The authoritative store: executions, their log, workers, resources. One conditional statement per verb."""
