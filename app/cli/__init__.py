"""The command line. Each command is imported when it is called: `--help` loads click and nothing else."""
