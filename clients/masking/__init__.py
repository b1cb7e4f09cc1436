"""Secret values, kept out of everything that leaves a run."""
