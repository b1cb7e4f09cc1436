"""What a schedule is, and what is done about its times."""
