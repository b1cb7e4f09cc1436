"""A Daytona for tests: the HTTP that its SDK speaks, with each sandbox in namespaces of its own (bubblewrap)."""
