"""The record of a version of a skill."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillVersion:
    """One version of a skill, without its archive. `version_hash` is the archive's SHA-256; tags may move."""

    skill_id: str
    version_hash: str
    artifact_key: str
    tag: str
    skill_md: str
    created_at: float
    front: Mapping[str, str] | None = None
    """The front matter: `name` and `description`, or `error` with the reason why it cannot be used. None: not read
    yet, for a version that was stored before this field existed."""
