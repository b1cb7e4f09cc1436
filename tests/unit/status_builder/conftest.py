"""Every test of a run here is made with both sources of LangGraph's events."""

import pytest


@pytest.fixture(autouse=True)
def _sources(both_sources: None) -> None:
    pass
