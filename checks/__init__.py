"""What `make check` looks at besides format, lint, types and imports: one idea per file."""
