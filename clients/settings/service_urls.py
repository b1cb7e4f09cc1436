"""URLs of brokers, Redis and databases: finds their mistakes, gives them one spelling, and hides their passwords."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

CERT_REQS = {"cert_required": "required", "cert_optional": "optional", "cert_none": "none"}
ENCODE = "percent-encode what is special in the user and the password: / is %2F, # is %23, ? is %3F, @ is %40, : is %3A"


def without_password(url: str) -> str:
    """The URL with its passwords replaced by `***`. The user part ends at the last @; a password may have others."""
    scheme, colons, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    if at and ":" in user:
        rest = f"{user.partition(':')[0]}:***@{host}"
    return re.sub(r"(?i)((?:password|passwd|pwd)=)[^&;]*", r"\1***", f"{scheme}{colons}{rest}")


def passwords_in(url: str) -> list[str]:
    """The passwords in a URL, as they are written and decoded; not one before the @ that is also the user's name."""
    if "://" not in url:
        return []
    user, at, _ = url.partition("://")[2].rpartition("@")
    name, colon, password = user.partition(":")
    found = [password] if at and colon and password != name else []
    found += re.findall(r"(?i)(?:password|passwd|pwd)=([^&;]*)", url)
    return [form for each in found if each for form in {each, unquote(each)}]


def problem(url: str) -> str:
    """Why the URL cannot be used as it is; empty if it can. The text shows nothing that the URL contains."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] in ("sqlite", "unix"):
        return ""
    if scheme == "sentinel":
        return (
            "is for Redis Sentinel, which is not supported: name the master's own address, or one that follows it"
            " (a virtual address, HAProxy, a managed Redis' endpoint)"
        )
    if scheme in ("redis", "rediss") and "keyprefix" in rest.partition("?")[2]:
        return (
            "names a prefix of keys (global_keyprefix), which is not supported, since not every key would have it:"
            " name a database number or a server of its own"
        )
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    path = beyond.partition("?")[0]
    hosts = authority.rpartition("@")[2]
    port_is_one = "," in hosts or re.fullmatch(r"(.*\])?[^:]*(:\d*)?", hosts) is not None
    if "#" in beyond or "@" in path or ("@" in beyond and "@" not in authority) or not port_is_one:
        return f"cannot be read: {ENCODE}"
    return ""


def normal_redis(url: str) -> str:
    """The URL in a form that all clients read alike: `rediss://` gets `ssl_cert_reqs`, which is `required` by default.

    Raises ValueError for an unknown value of `ssl_cert_reqs`.
    """
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    asked = query.get("ssl_cert_reqs", "required").lower()
    query["ssl_cert_reqs"] = CERT_REQS.get(asked, asked)
    if query["ssl_cert_reqs"] not in CERT_REQS.values():
        raise ValueError("must have ssl_cert_reqs=required, optional or none (or CERT_REQUIRED ...) if it has one")
    return parts._replace(query=urlencode(query)).geturl()


def check_postgres(url: str) -> None:
    """Raises ValueError for a URL of Postgres that cannot be read. Its driver is imported where there is one only."""
    if url.startswith(("postgres://", "postgresql://", "postgresql+")):
        from agent_runner.status.store.postgres import plain

        plain(url)
