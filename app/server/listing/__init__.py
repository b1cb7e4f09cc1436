"""What people who watch executions are shown: light rows, counts, changes, a time line, the overview."""
