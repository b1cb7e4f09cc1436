"""Skills: their archives, and how a worker lays them out for a run."""
