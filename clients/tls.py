"""When clients use TLS, and whom they trust."""

import ssl
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
