"""What holds for every test: a proxy of whoever runs them is none of theirs, as it is none of our channels'.

Compiled bytecode is kept. Without it, every process that a test starts compiles all that it imports: 5 s instead of 1.
"""

import os
import sys

for _name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")]:
    del os.environ[_name]  # before anything is imported: clients read them when they are made

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_sessionfinish() -> None:
    """Databases that were kept for one more test go with the last one."""
    if databases := sys.modules.get("tests.support.databases"):
        databases.drop_all()
