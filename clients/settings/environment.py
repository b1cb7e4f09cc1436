"""Settings fields that are read from named environment variables, and the `.env` file.

A field made by `setting` names its variables itself. (pydantic-settings would also read WORKSPACE or POOL for fields of
those names, which other programs set, and to import it takes longer than to import pydantic and to read all settings.)
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from agent_runner.clients.process.env_file_lines import tell_of_env_file
from agent_runner.clients.settings.service_urls import without_password


def setting(*names: str, about: str, default: Any = None, derived: Callable[[dict[str, Any]], Any] | None = None,
             shown: str = "", **limits: Any) -> Any:  # fmt: skip
    """A field with the environment variables it is read from (the first that is set wins) and its one-line meaning."""
    extra: dict[str, Any] = {"env": list(names), "shown": shown}
    if derived is not None:
        return Field(default_factory=derived, description=about, json_schema_extra=extra, **limits)
    return Field(default=default, description=about, json_schema_extra=extra, **limits)


def names_of(field: FieldInfo) -> list[str]:
    """The variables that a field is read from; the first is its name, others are accepted too."""
    extra = field.json_schema_extra
    return [str(name) for name in extra["env"]] if isinstance(extra, dict) and isinstance(extra["env"], list) else []


class NamedSettings(BaseModel):
    """A field that is not given is read from the first of its variables that is set and not empty.

    Defaults are validated as given values are. The schema is built with the first instance, so not for base classes.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        allow_inf_nan=False,
        validate_default=True,
        defer_build=True,
    )

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**in_environment(type(self).model_fields), **given})


def in_environment(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    """The fields whose variables are set."""
    values = {
        name: next((os.environ[variable] for variable in names_of(field) if os.environ.get(variable)), None)
        for name, field in fields.items()
    }
    return {name: value for name, value in values.items() if value is not None}


OTHERS = re.compile(r"(?i)(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|FLOWER_[A-Z_]+|AGENT_RUNNER_[A-Z_]+|TZ")
"""What a `.env` may hold besides settings. Anything else there is for other programs, or somebody's trap."""


def load_env_file(settings: Iterable[FieldInfo], path: Path | None = None) -> None:
    """Put the variables of `./.env` (else the `.env` of the source tree) into the environment if they are not set yet.

    Only settings and the variables that `OTHERS` names. A setting that the process has under one of its names is not
    set by `.env` under another.
    """
    tree = Path(__file__).resolve().parents[2]
    candidates = [path] if path else [Path(".env"), *([tree / ".env"] if (tree / "pyproject.toml").exists() else [])]
    found = next((p for p in candidates if p.is_file()), None)
    if found is None:
        return
    synonyms = {name: names for names in map(names_of, settings) for name in names}
    process = set(os.environ)
    held = dotenv_values(found)
    strangers = sorted(name for name in held if name not in synonyms and not OTHERS.fullmatch(name))
    left = f"; left alone, because they are no settings: {', '.join(strangers)}" if strangers else ""
    tell_of_env_file(f"settings were read from {found.resolve()}{left}")
    for name, value in held.items():
        if name in strangers:
            continue
        if value is not None and not process.intersection(synonyms.get(name, [name])):
            os.environ[name] = value


def shown(value: object) -> str:
    """A setting's value for people: secrets and passwords masked."""
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    if isinstance(value, str) and "://" in value:
        return without_password(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
