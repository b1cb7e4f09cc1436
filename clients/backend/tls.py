"""When clients use TLS, and whom they trust."""

import ssl
import urllib.request
from contextlib import suppress
from pathlib import Path

SECURE, PLAIN = ("grpcs://", "https://"), ("grpc://", "http://")


def is_tls(endpoint: str, ca: Path | None = None) -> bool:
    """Whether calls to a gRPC endpoint use TLS: it ends with `:443`, or it says so, or an authority of ours is set."""
    if endpoint.startswith(PLAIN):
        return False
    return endpoint.startswith(SECURE) or endpoint.endswith(":443") or ca is not None


def target(endpoint: str) -> str:
    """`host:port` of an endpoint that may say how it is reached."""
    return endpoint.rpartition("://")[2]


def trusted(ca: Path | None) -> ssl.SSLContext:
    """For HTTPS: this authority only, else the system's. Raises OSError for a file that is none."""
    return ssl.create_default_context(cafile=str(ca) if ca else None)


def direct_opener(ca: Path | None) -> urllib.request.OpenerDirector:
    """For reports to the server, which is reached directly: a proxy of the environment is for model providers.

    A file that cannot be read is no authority: wrong settings must not end who would report them.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca is not None:
        with suppress(OSError):
            handlers.append(urllib.request.HTTPSHandler(context=trusted(ca)))
    return urllib.request.build_opener(*handlers)
