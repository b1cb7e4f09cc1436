"""Both edges under whatever can be sent to them: `make fuzz`, and a small budget of it in every test run."""
