"""How a Postgres URL is read, for the store and for the agents' memory alike.

    postgresql://user:password@host:5432/name?sslmode=require&prepared_statements=off

Both forms of several hosts are accepted (`h1:5432,h2:5433` or `?host=h1:5432&host=h2:5433`). A driver in the scheme is
ignored. Everything else is libpq's. `prepared_statements` is `auto` or `off`: a pooler that gives each transaction
another connection (PgBouncer) does not know the statements that were prepared before. `auto` compares the process that
answers with the one that the connection was opened to. If they differ, no statements are prepared.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine

# psycopg and SQLAlchemy are imported where they are needed: every process reads its settings with this module, and a
# supervisor would take twice its time to start.
PREPARED = "prepared_statements"
POOLER_ADVICE = (
    "A pooler in between gives each transaction another connection: add ?prepared_statements=off to the URL."
)
OPTIONS_ADVICE = (
    "PgBouncer refuses this startup parameter: leave it out of the URL and set it with ALTER ROLE ... SET,"
    " or name it in PgBouncer's ignore_startup_parameters."
)


def is_postgres(url: str) -> bool:
    return url.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def plain(url: str) -> str:
    """The URL as libpq reads it. Raises ValueError if it cannot be read; the error contains no part of the URL."""
    rest, _, query = url.partition("://")[2].partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    mode = [value for name, value in pairs if name == PREPARED]
    if any(value not in ("auto", "off") for value in mode):
        raise ValueError(f"{PREPARED} must be auto or off")
    hosts = [value for name, value in pairs if name == "host"]
    kept = [(name, value) for name, value in pairs if name != PREPARED]
    if len(hosts) > 1 or any(_port(host)[1] for host in hosts):
        each = [_port(host) for one in hosts for host in one.split(",")]
        kept = [(name, value) for name, value in kept if name not in ("host", "port")]
        kept += [("host", ",".join(host for host, _ in each)), ("port", ",".join(port for _, port in each))]
    read = f"postgresql://{rest}" + (f"?{urlencode(kept, quote_via=quote)}" if kept else "")
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(read)
    except Error:
        raise ValueError("cannot be read; percent-encode what is special in the password (/ # ? @ : %)") from None
    return read


def prepares(url: str) -> bool:
    """Whether the URL allows prepared statements."""
    return (PREPARED, "off") not in parse_qsl(url.partition("?")[2])


def engine_url(url: str) -> "URL":
    """The URL for SQLAlchemy, with the driver psycopg."""
    from psycopg.conninfo import conninfo_to_dict
    from sqlalchemy.engine import URL

    given = dict(conninfo_to_dict(plain(url)))
    hosts, ports = (str(given.pop(name, None) or "").split(",") for name in ("host", "port"))
    several = len(hosts) > 1 or not hosts[0] or hosts[0].startswith("/")
    query: dict[str, str | Sequence[str]] = {
        name: str(value) for name, value in given.items() if name not in ("user", "password", "dbname")
    }
    if several and hosts[0]:
        query |= {"host": ",".join(hosts)} | ({"port": ",".join(ports)} if ports[0] else {})
        if len(hosts) > 1:
            ports = ports * len(hosts) if len(ports) == 1 else ports
            query["host"] = tuple(f"{host}:{port or 5432}" for host, port in zip(hosts, ports, strict=True))
            query.pop("port", None)
    return URL.create(
        "postgresql+psycopg",
        username=_text(given.get("user")),
        password=_text(given.get("password")),
        host=None if several else hosts[0],
        port=None if several or not ports[0] else int(ports[0]),
        database=_text(given.get("dbname")),
        query=query,
    )


def is_pooled(connection: Any, answering_pid: int) -> bool:
    """Whether a pooler is between this (psycopg) connection and the process that answers on it."""
    return bool(connection.info.backend_pid != answering_pid)


def suit(engine: "Engine", url: str) -> "Engine":
    """Lets each new connection of this engine prepare statements only if its next transaction still finds them."""
    from sqlalchemy import event

    def on_connect(connection: Any, _record: Any) -> None:
        own = getattr(connection, "driver_connection", connection)
        if not prepares(url):
            own.prepare_threshold = None
            return
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        pid = int(cursor.fetchone()[0])
        cursor.close()
        connection.rollback()
        if is_pooled(own, pid):
            own.prepare_threshold = None

    event.listen(engine, "connect", on_connect)
    return engine


def advice(text: str) -> str:
    """What to do about an error of Postgres that a pooler causes; empty for any other error."""
    if "prepared statement" in text and ("does not exist" in text or "already exists" in text):
        return POOLER_ADVICE
    return OPTIONS_ADVICE if "unsupported startup parameter" in text else ""


def _port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() and not name.startswith("/") else (host, "")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
