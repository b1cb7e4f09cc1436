"""A container per session, by an engine that speaks Docker's API. Needs the extra `docker`."""
