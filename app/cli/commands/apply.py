"""`agent-runner apply -f FILE`: create or update resources from YAML or JSON documents of the published kinds."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent_runner.app.cli.exits import EXIT_USAGE, Failed, api_errors, server_url, settings_or_exit
from agent_runner.clients.backend.http_api import ApiError, HttpApi

API_VERSION = "agentic.stigmer.ai/v1"
COLLECTIONS = {
    "Agent": "agents",
    "AgentInstance": "agent-instances",
    "Session": "sessions",
    "Skill": "skills",
    "Environment": "environments",
}
Json = dict[str, Any]


@click.command()
@click.option("--file", "-f", "files", multiple=True, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--server", metavar="URL", callback=server_url, help="AGENT_RUNNER_HTTP_URL [http://127.0.0.1:8080]")
def apply(files: tuple[Path, ...], server: str | None) -> None:
    """Create or update resources. FILE holds one or more documents; the same again changes nothing."""
    settings = settings_or_exit("client")

    async def all_of_them() -> None:
        async with HttpApi(server or settings.http_url, settings.api_key.get_secret_value(), settings.tls_ca) as api:
            for file in files:
                for document in documents(file):
                    metadata = (await _apply(api, document)).get("metadata") or {}
                    click.echo(f"{document['kind']} {metadata.get('slug')} applied ({metadata.get('id')})")

    with api_errors():
        asyncio.run(all_of_them())


async def apply_file(api: HttpApi, file: Path, *, only_kind: str) -> str:
    """Applies all documents of a file. Returns the id of the last one of `only_kind`. Raises `ApiError`, `Failed`."""
    found = ""
    for document in documents(file):
        resource = await _apply(api, document)
        if document["kind"] == only_kind:
            found = str((resource.get("metadata") or {}).get("id", ""))
    if not found:
        raise Failed(f"{file} describes no {only_kind}", exit_code=EXIT_USAGE)
    return found


def documents(file: Path) -> Iterator[Json]:
    """The documents of a YAML or JSON file. Raises `Failed` if one has no known `kind` or no `metadata.name`."""
    import yaml

    try:
        read = list(yaml.safe_load_all(file.read_text()))  # JSON is YAML
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Failed(f"{file} cannot be read: {error}", exit_code=EXIT_USAGE) from None
    for number, document in enumerate(read, start=1):
        if document is None:
            continue
        where = f"{file}, document {number}"
        if not isinstance(document, dict) or document.get("kind") not in COLLECTIONS:
            raise Failed(f"{where}: kind must be one of {', '.join(COLLECTIONS)}", exit_code=EXIT_USAGE)
        if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
            raise Failed(f"{where}: metadata.name is required", exit_code=EXIT_USAGE)
        yield {"api_version": document.pop("apiVersion", API_VERSION), **document}


async def _apply(api: HttpApi, document: Json) -> Json:
    """Creates or updates the resource. Returns its new state."""
    plural = COLLECTIONS[document["kind"]]
    try:
        return await api.apply(plural, document)
    except ApiError as error:
        if error.status in (404, 405, 501):
            raise Failed(f"the server does not have /v1/{plural} yet", next_step="Update the server.") from None
        raise
