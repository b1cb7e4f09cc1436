"""Settings for access: the hosts that the server answers for, how strong keys must be, Flower's login."""

import ipaddress
import re
from pathlib import Path

from pydantic import SecretStr, field_validator

from agent_runner.clients.settings.edge_settings import EdgeSettings
from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.server_of_graphs import REFUSED, ServerOfGraphs, server_of_graphs

DUMMY_LOCAL_KEY = "dummy-local-key"
MIN_KEY_CHARS = 24
"""So many random letters and digits are out of reach of guessing; `openssl rand -hex 32` gives 64."""
MAKE_A_KEY = "make one with: openssl rand -hex 32"
LOOPBACK_NAME = "localhost"
EVERY_HOST = "*"


class AccessSettings(EdgeSettings):
    allowed_hosts: str = setting(
        "AGENT_RUNNER_ALLOWED_HOSTS",
        default="",
        about="names that HTTP callers may use for this server: with commas, *.DOMAIN for all below it; *: any",
        shown="this machine's, or any with a bind beyond it",
    )

    flower_password: SecretStr = setting(
        "AGENT_RUNNER_FLOWER_PASSWORD",
        default=SecretStr(""),
        about="of Flower's login, whose name is admin",
        shown="the API key; dev makes a random one",
    )
    flower_control: bool | None = setting(
        "AGENT_RUNNER_FLOWER_CONTROL",
        about="true: Flower may also revoke tasks and stop workers; false: it only shows",
        shown="true in MODE=local",
    )

    page_links: str = setting(
        "AGENT_RUNNER_PAGE_LINKS",
        default="",
        about="links of the live page, NAME=URL with commas; {execution_id} in a URL makes it a link of each execution",
        shown="none; dev adds Flower",
    )
    known_key_for_own_user: bool = setting(
        "AGENT_RUNNER_KNOWN_KEY_FOR_OWN_USER",
        default=False,
        shown="false; dev with a key of its own: true",
        about="true: over HTTP on loopback, dummy-local-key counts as the key for programs of the server's own user",
    )

    workers_without_token: bool = setting(
        "AGENT_RUNNER_WORKERS_WITHOUT_TOKEN",
        default=False,
        shown="false",
        about="true: workers of releases without run tokens may claim, for the time of an upgrade",
    )

    allowed_models: str = setting(
        "AGENT_RUNNER_ALLOWED_MODELS",
        default="",
        about="models that an execution may name: patterns with commas, ORG=PATTERN, ORG/AGENT=PATTERN",
        shown="any",
    )
    graphs: Path = setting(
        "AGENT_RUNNER_GRAPHS", default=Path("langgraph.json"), about="your own graphs", shown="./langgraph.json"
    )
    allowed_graphs: str = setting(
        "AGENT_RUNNER_ALLOWED_GRAPHS", default="", about="the same for your own graphs", shown="any"
    )
    graphs_without: str = setting(
        "AGENT_RUNNER_GRAPHS_WITHOUT",
        default="",
        about="entries of langgraph.json without which the server may start, with commas: auth, http.app, ...",
        shown="none",
    )

    @field_validator("graphs_without", mode="after")
    @classmethod
    def _graphs_without(cls, value: str) -> str:
        for name in _split(value):
            if name not in REFUSED:
                raise ValueError(f"must be names of {', '.join(REFUSED)}, not {name!r}")
        return value

    @property
    def server_of_graphs(self) -> ServerOfGraphs:
        """What `langgraph.json` asks of the server, as the file is now."""
        return server_of_graphs(self.graphs, without=_split(self.graphs_without))

    @field_validator("allowed_hosts", mode="after")
    @classmethod
    def _hosts(cls, value: str) -> str:
        for host in _split(value):
            if host != EVERY_HOST and not re.fullmatch(r"(\*\.)?[a-z0-9._-]+|\[[0-9a-f:]+\]", host):
                raise ValueError(f"must be names of hosts without port, like runner.example.com, not {host!r}")
        return value

    @field_validator("page_links", mode="after")
    @classmethod
    def _page_links(cls, value: str) -> str:
        for link in filter(str.strip, value.split(",")):
            if not re.fullmatch(r"\s*[^=]{1,40}=https?://\S+\s*", link):
                raise ValueError(f"must be NAME=URL with http or https, and commas between them, not {link.strip()!r}")
        return value

    @property
    def linked_pages(self) -> list[tuple[str, str]]:
        """Name and URL of each link of the live page."""
        pairs = (link.partition("=") for link in self.page_links.split(",") if link.strip())
        return [(name.strip(), url.strip()) for name, _, url in pairs]

    @property
    def hosts(self) -> list[str]:
        """The names that a `Host` header may have besides this machine's, in lower case; `*` among them allows any."""
        given = _split(self.allowed_hosts)
        if not given and not is_loopback(self.bind):
            return [EVERY_HOST]
        called = re.match(r"https?://(\[[^\]]*\]|[^:/?#]+)", self.http_url.lower())
        return [*given, *([called.group(1)] if called else [])]

    @property
    def reached_from_elsewhere(self) -> bool:
        """Whether other machines reach the server: it listens beyond loopback, or `allowed_hosts` names hosts of a
        proxy."""
        return not is_loopback(self.bind) or any(not is_loopback(host) for host in _split(self.allowed_hosts))

    def key_problems(self, key: SecretStr) -> list[tuple[frozenset[str], str]]:
        """As `Settings.problems`, for a process that serves."""
        if not self.reached_from_elsewhere or not (wrong := weakness(key.get_secret_value())):
            return []
        text = f"STIGMER_API_KEY {wrong}, and the server can be reached from other machines; {MAKE_A_KEY}"
        return [(frozenset({"api_key"}), text)]


def weakness(key: str) -> str:
    """Why a key is too weak for a server that other machines reach; empty for a strong one."""
    if key == DUMMY_LOCAL_KEY:
        return f"is {DUMMY_LOCAL_KEY}, which everybody knows"
    return f"has fewer than {MIN_KEY_CHARS} characters" if len(key) < MIN_KEY_CHARS else ""


def is_loopback(host: str) -> bool:
    """Whether this name or address always means the machine itself, and no other machine can reach it."""
    name = host.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")
    if name == LOOPBACK_NAME or name.endswith(f".{LOOPBACK_NAME}"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split(text: str) -> list[str]:
    return [part.strip().lower() for part in text.split(",") if part.strip()]
