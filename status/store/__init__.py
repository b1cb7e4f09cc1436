"""The queue of record: executions, their log, who is alive, the resources. One conditional statement per verb."""
