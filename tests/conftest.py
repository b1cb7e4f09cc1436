"""What holds for every test: a proxy of whoever runs them is none of theirs, as it is none of our channels'."""

import os
import sys

for _name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")]:
    del os.environ[_name]  # before anything is imported: clients read them when they are made


def pytest_sessionfinish() -> None:
    """Databases that were kept for one more test go with the last one."""
    if databases := sys.modules.get("tests.support.databases"):
        databases.drop_all()
