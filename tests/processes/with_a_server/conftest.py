"""The server in the test's own process that the commands call."""

from tests.unit.server.conftest import channel as channel
from tests.unit.server.conftest import http as http
from tests.unit.server.conftest import own_channel as own_channel
from tests.unit.server.conftest import own_http as own_http
from tests.unit.server.conftest import own_server as own_server
from tests.unit.server.conftest import own_settings as own_settings
from tests.unit.server.conftest import redis_url as redis_url
from tests.unit.server.conftest import server as server
from tests.unit.server.conftest import settings as settings
from tests.unit.server.conftest import worker as worker
