"""URLs of brokers, Redis and databases: what is wrong with one, one spelling for all who read it, and none with a
password in it for people to see."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

CERT_REQS = {"cert_required": "required", "cert_optional": "optional", "cert_none": "none"}
ENCODE = "percent-encode what is special in the user and the password: / is %2F, # is %23, ? is %3F, @ is %40, : is %3A"


def without_password(url: str) -> str:
    """The URL with its passwords replaced by `***`: up to the last @, wherever a raw character has put that."""
    scheme, colons, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    if at and ":" in user:
        rest = f"{user.partition(':')[0]}:***@{host}"
    return re.sub(r"(?i)((?:password|passwd|pwd)=)[^&;]*", r"\1***", f"{scheme}{colons}{rest}")


def passwords_in(url: str) -> list[str]:
    """As they stand there and as they are meant; none that is the user's name, too."""
    if "://" not in url:
        return []
    user, at, _ = url.partition("://")[2].rpartition("@")
    name, colon, password = user.partition(":")
    found = [password] if at and colon and password != name else []
    found += re.findall(r"(?i)(?:password|passwd|pwd)=([^&;]*)", url)
    return [form for each in found if each for form in {each, unquote(each)}]


def problem(url: str) -> str:
    """Why the URL cannot be taken as it is; empty if it can. Says nothing of what stands in it."""
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
    """As every client reads it: a `rediss://` URL says whether the certificate is verified, and it is unless told not.

    Raises ValueError for a `ssl_cert_reqs` that is none.
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
