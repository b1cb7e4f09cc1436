"""What a run does, as rows of a log, and the status as their fold."""
