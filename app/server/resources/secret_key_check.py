"""Whether AGENT_RUNNER_SECRET_KEY is the key that this database's secrets are sealed with.

A server seals a sample when it starts. One with another key cannot open that: it would seal what the other servers
cannot open, and every run with a secret would end E304. Values that no key opens are counted too: they were sealed with
a key that was taken away too early, or before there was a sample.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent_runner.app.server.resources.sealing import SEALED, SealBroken, Sealing
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.registry.sealed_values import SealedValue
from agent_runner.status.store.store import Store

log = event_logger(__name__)
SAMPLE = b"agent-runner: sealed with the secret key in use"
NAMED = 3
"""How many of the values that cannot be opened are named."""
OTHER = "AGENT_RUNNER_SECRET_KEY is not the key that the secrets in this database are sealed with"
ABSENT = "AGENT_RUNNER_SECRET_KEY is not set, and this database holds secrets that are sealed with one"
GIVE_IT = (
    "Set AGENT_RUNNER_SECRET_KEY to the key of the other servers. To replace it, give both, separated by a comma "
    "(docs/guides/secrets.md). If it is lost: agent-runner migrate --new-secret-key, and write the secrets again."
)
UNOPENED = (
    "Add the key that they were sealed with at the end of AGENT_RUNNER_SECRET_KEY, after a comma. "
    "If it is lost, write these secrets again."
)


class OtherSecretKey(ValueError):
    """A server outside MODE=local does not start with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyState:
    """`wrong`: the sentence that says why, or empty. `unopened`: what holds values that no key opens, each once."""

    wrong: str = ""
    unopened: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        parts = [self.wrong] if self.wrong else []
        if self.unopened:
            rest = len(self.unopened) - NAMED
            named = ", ".join(self.unopened[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
            key = "it" if self.wrong else "AGENT_RUNNER_SECRET_KEY"
            parts.append(f"{key} does not open what is stored in {named}")
        return "; ".join(parts)

    @property
    def fix(self) -> str:
        return GIVE_IT if self.wrong else UNOPENED if self.unopened else ""


async def look_at_secret_key(store: Store, sealing: Sealing) -> SecretKeyState:
    """Reads only."""
    sample = await store.sealed_sample()
    unopened = tuple(_unopened(sealing, await store.sealed_values(SEALED)))
    if not sealing.has_key:
        return SecretKeyState(wrong=ABSENT if sample is not None or unopened else "", unopened=unopened)
    return SecretKeyState(wrong="" if sample is None or _opens(sealing, sample) else OTHER, unopened=unopened)


async def settle_secret_key(store: Store, sealing: Sealing, *, may_differ: bool) -> None:
    """For a server that starts: says in the log what is wrong, and keeps the sample of a key that is right.

    Raises `OtherSecretKey` for a wrong key, unless it `may_differ`. A server without a key seals nothing and may start.
    """
    state = await look_at_secret_key(store, sealing)
    if sealing.has_key and not state.wrong:
        # Of several keys the first one seals from now on. A single key that opens the sample has sealed it, or another
        # server was the first just now, perhaps with another key.
        kept = await store.keep_sample(sealing.seal(SAMPLE), if_first=not sealing.several)
        state = state if _opens(sealing, kept) else replace(state, wrong=OTHER)
    if state.wrong and sealing.has_key and not may_differ:
        raise OtherSecretKey(f"{state.said}. {state.fix}")
    if state.said:
        log.error("server.secret_key", problem=state.said, fix=state.fix)


async def take_new_secret_key(store: Store, sealing: Sealing) -> SecretKeyState:
    """From now on this key is the one of the database; what is stored under another one stays unopened."""
    await store.keep_sample(sealing.seal(SAMPLE), if_first=False)
    return await look_at_secret_key(store, sealing)


def _unopened(sealing: Sealing, values: Iterable[SealedValue]) -> Iterable[str]:
    return dict.fromkeys(value.where for value in values if not _opens(sealing, value.sealed))


def _opens(sealing: Sealing, sealed: bytes) -> bool:
    try:
        sealing.open(sealed)
    except SealBroken:
        return False
    return True
