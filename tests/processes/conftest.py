"""What the tests of single processes share with those of the command line."""

from tests.unit.cli.conftest import clean_environment as clean_environment
from tests.unit.cli.conftest import server as server
