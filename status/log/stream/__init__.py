"""The parts of a graph's own stream, as rows of the log."""
