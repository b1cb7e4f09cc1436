"""Secrets at rest: stored secrets are encrypted with a key that is not in the database.

There may be several keys, separated by commas. The first key seals, all keys open. So a key can be replaced while the
database holds values that were sealed with the old key (`docs/guides/secrets.md`).

The values of a `runtime_env` are sealed as one piece, secret values inside resources one by one. An answer shows
`REDACTED` in place of a secret. A caller who sends `REDACTED` back keeps the stored value.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent_runner.app.server.contract.texts import check_text
from agent_runner.app.server.problems import failed_precondition, invalid
from agent_runner.status.log.bounds import MAX_SECRETS, MAX_SECRETS_BYTES

REDACTED = "***"
SEALED = "sealed:"
"""The beginning of a secret value in a stored resource."""


class SealBroken(ValueError):
    """A stored value cannot be opened: AGENT_RUNNER_SECRET_KEY is not the key that sealed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvValue:
    value: str
    is_secret: bool


class Sealing:
    """Seals with a key derived from the operator's secret, which may be any text. Without one it refuses to seal."""

    __slots__ = ("_fernet", "several")

    def __init__(self, secret_key: str) -> None:
        keys = [key.strip() for key in secret_key.split(",") if key.strip()]
        # The last key is the whole text: earlier versions had only one key, which could contain commas.
        ciphers = [Fernet(_derived(key)) for key in dict.fromkeys([*keys, secret_key])]
        self._fernet = MultiFernet(ciphers) if keys else None
        self.several = len(keys) > 1

    @property
    def has_key(self) -> bool:
        return self._fernet is not None

    def seal_env(self, values: Mapping[str, EnvValue]) -> bytes:
        """Sealed bytes; empty for no values."""
        if not values:
            return b""
        plain = {name: [v.value, v.is_secret] for name, v in values.items()}
        return self.seal(json.dumps(plain).encode())

    def open_env(self, sealed: bytes) -> dict[str, EnvValue]:
        """The values that `seal_env` sealed; raises `SealBroken`."""
        if not sealed:
            return {}
        plain = json.loads(self.open(sealed))
        return {name: EnvValue(value=value, is_secret=secret) for name, (value, secret) in plain.items()}

    def seal_data(self, data: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """A resource's `data` (name -> {value, is_secret}) for the store. `before` is what is stored now."""
        return {name: self._sealed_entry(entry, before.get(name)) for name, entry in data.items()}

    def open_data(self, data: Mapping[str, Any]) -> dict[str, EnvValue]:
        """A stored resource's `data` in clear, for the run that it belongs to; raises `SealBroken`."""
        return {
            name: EnvValue(value=self._opened(entry), is_secret=bool(entry.get("is_secret")))
            for name, entry in data.items()
        }

    def _sealed_entry(self, entry: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
        if not entry.get("is_secret"):
            return dict(entry)
        kept = str((before or {}).get("value", ""))
        if entry.get("value") == REDACTED and (before or {}).get("is_secret") and kept.startswith(SEALED):
            return {**entry, "value": SEALED + self._again(kept.removeprefix(SEALED).encode()).decode()}
        return {**entry, "value": SEALED + self.seal(str(entry.get("value", "")).encode()).decode()}

    def _opened(self, entry: Mapping[str, Any]) -> str:
        value = str(entry.get("value", ""))
        if not (entry.get("is_secret") and value.startswith(SEALED)):
            return value
        return self.open(value.removeprefix(SEALED).encode()).decode()

    def seal(self, plain: bytes) -> bytes:
        """Sealed, as text of a URL could be. Raises FAILED_PRECONDITION without a secret key."""
        if self._fernet is None:
            raise failed_precondition(
                "the server has no AGENT_RUNNER_SECRET_KEY, so it stores no environment values",
                next_step="Set AGENT_RUNNER_SECRET_KEY on the server and start it again.",
            )
        return self._fernet.encrypt(plain)

    def _again(self, sealed: bytes) -> bytes:
        """Seals a value again with the first key. A value that no key opens stays as it is: its key may come back."""
        try:
            return self._fernet.rotate(sealed) if self._fernet else sealed
        except InvalidToken:
            return sealed

    def open(self, sealed: bytes) -> bytes:
        """What `seal` sealed, with any of the keys; raises `SealBroken`."""
        if self._fernet is None:
            raise SealBroken("AGENT_RUNNER_SECRET_KEY is not set")
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise SealBroken("AGENT_RUNNER_SECRET_KEY does not hold the key that the value was stored with") from None


def check_env(values: Mapping[str, str], field: str) -> None:
    """Refuses values that no process can have in its environment, at the write and not at the start of a tool."""
    for name, value in values.items():
        if not name or "=" in name or "\0" in name:
            raise invalid(f"{field}: {name!r} is not a name of an environment variable")
        check_text(f"{field}: the value of {name!r}", value)


def too_many_secrets(values: Iterable[EnvValue]) -> str:
    """The error text if the secrets of one run are too many or too large, else empty."""
    secrets = [value.value for value in values if value.is_secret]
    size = sum(len(value.encode()) for value in secrets)
    if len(secrets) <= MAX_SECRETS and size <= MAX_SECRETS_BYTES:
        return ""
    most = f"a run may have {MAX_SECRETS} secrets and {MAX_SECRETS_BYTES} bytes of them in all"
    return f"{most}; these are {len(secrets)} with {size} bytes"


def check_secrets(values: Iterable[EnvValue], field: str) -> None:
    """Raises INVALID_ARGUMENT for too many or too large secrets: all output of a run is searched for each of them."""
    if too_many := too_many_secrets(values):
        raise invalid(
            f"{field}: {too_many}", next_step="Send fewer, or put what is large into a file that a tool reads itself."
        )


def redacted(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` (name -> {value, is_secret}) as an answer may show it."""
    return {
        name: {**entry, "value": REDACTED} if entry.get("is_secret") else dict(entry) for name, entry in data.items()
    }


def _derived(secret_key: str) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"agent-runner sealing v1")
    return base64.urlsafe_b64encode(kdf.derive(secret_key.encode()))
