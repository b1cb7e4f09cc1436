"""The log of an execution: a row for each thing that a run does. The status is the fold of these rows."""
