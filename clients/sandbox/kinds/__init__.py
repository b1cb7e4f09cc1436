"""The kinds of sandboxes, by name: ours, and those of packages that name one as an entry point."""
