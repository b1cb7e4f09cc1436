"""When cron expressions and lists of times are due."""
