"""The fault catalogue: every fault of the list provoked on real processes, and what must come out (`make faults`)."""
