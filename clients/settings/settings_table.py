"""The settings as rows: for `doctor --settings` and the documents that are made from them."""

from agent_runner.clients.settings.environment import shown
from agent_runner.clients.settings.settings import Settings, env_names


def describe_settings(settings: Settings | None = None) -> list[dict[str, str]]:
    """One row per setting: name, also (other names), default, value (secrets masked), about. Values need `settings`."""
    rows = []
    for field, info in Settings.model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        default = str(extra.get("shown") or "") or ("" if info.default is None else shown(info.default))
        value = shown(getattr(settings, field)) if settings is not None else ""
        first, *others = env_names(field)
        rows.append(
            {
                "name": first,
                "also": " ".join(others),
                "default": default,
                "value": value,
                "about": info.description or "",
            }
        )
    return rows
