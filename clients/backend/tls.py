"""When clients use TLS, and which certificate authorities they trust."""

import ssl
import urllib.request
from contextlib import suppress
from pathlib import Path

SECURE, PLAIN = ("grpcs://", "https://"), ("grpc://", "http://")


def is_tls(endpoint: str, ca: Path | None = None) -> bool:
    """Whether calls to a gRPC endpoint use TLS: by its scheme; without one, if it ends with `:443` or `ca` is set."""
    if endpoint.startswith(PLAIN):
        return False
    return endpoint.startswith(SECURE) or endpoint.endswith(":443") or ca is not None


def target(endpoint: str) -> str:
    """`host:port` of an endpoint, without its scheme."""
    return endpoint.rpartition("://")[2]


def trusted(ca: Path | None) -> ssl.SSLContext:
    """The context for HTTPS: trusts this authority only, else the system's. Raises OSError for an unusable file."""
    return ssl.create_default_context(cafile=str(ca) if ca else None)


def direct_opener(ca: Path | None) -> urllib.request.OpenerDirector:
    """Opens URLs of the server without a proxy: proxy variables of the environment are for model providers.

    A file that cannot be read is ignored: a process with wrong settings must still be able to report them.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca is not None:
        with suppress(OSError):
            handlers.append(urllib.request.HTTPSHandler(context=trusted(ca)))
    return urllib.request.build_opener(*handlers)
