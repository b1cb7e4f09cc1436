"""On which kinds of database the tests of the methods run."""

import pytest

ON_SQLITE = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="session")
"""For what is decided outside of the database: one is enough."""
