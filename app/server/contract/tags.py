"""The limits of tags. Lists find tags by an index, so their length and number are limited."""

from collections.abc import Sequence

from agent_runner.app.server.contract.texts import check_text
from agent_runner.app.server.problems import invalid

MAX_TAGS, MAX_LENGTH = 64, 128


def check_tags(tags: Sequence[str], field: str) -> None:
    """Raises INVALID_ARGUMENT that names `field`."""
    if len(tags) > MAX_TAGS:
        raise invalid(f"{field}: has {len(tags)} tags; at most {MAX_TAGS} are accepted")
    for tag in tags:
        if len(tag) > MAX_LENGTH:
            raise invalid(f"{field}: {tag[:20]!r}... has {len(tag)} characters; at most {MAX_LENGTH} are accepted")
        check_text(field, tag)
