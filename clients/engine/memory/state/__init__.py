"""The values of a graph's state as a checkpoint holds them: which classes, in which form, and what is refused."""
