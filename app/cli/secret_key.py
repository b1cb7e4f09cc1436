"""The secret key as `doctor` and `migrate` see it: does it open what the database holds?"""

import asyncio

from agent_runner.app.cli.checks import LIMIT_S, Check, check_database
from agent_runner.clients.settings.access_settings import MAKE_A_KEY
from agent_runner.clients.settings.settings import Settings

NAME = "secret key"


def check_secret_key(settings: Settings) -> list[Check]:
    """A key that is not the database's fails `doctor`; values that no key opens, and a missing key, do not."""
    from agent_runner.app.server.resources.sealing import Sealing
    from agent_runner.app.server.resources.secret_key_check import SecretKeyState, look_at_secret_key
    from agent_runner.status.store.store import Store

    sealing = Sealing(settings.secret_key.get_secret_value())

    async def look() -> SecretKeyState:
        store = Store.open(settings.database_url)
        try:
            return await asyncio.wait_for(look_at_secret_key(store, sealing), LIMIT_S)
        finally:
            await store.close()

    # Where the database cannot be asked, its own check says so: a worker's machine cannot, and needs no key either.
    state = asyncio.run(look()) if check_database(settings).up else SecretKeyState()
    if state.said:
        required = bool(state.wrong) and sealing.has_key
        return [Check(name=NAME, up=False, why=state.said, fix=state.fix, required=required)]
    if not settings.is_local and not sealing.has_key:
        why = "AGENT_RUNNER_SECRET_KEY is not set: a server without it refuses secrets; other processes need none"
        fix = f"Set AGENT_RUNNER_SECRET_KEY on all servers, the same ({MAKE_A_KEY})."
        return [Check(name=NAME, up=False, why=why, fix=fix, required=False)]
    return []


def take(settings: Settings) -> str:
    """Makes the key of these settings the one of the database; says what it does not open."""
    from agent_runner.app.server.resources.sealing import Sealing
    from agent_runner.app.server.resources.secret_key_check import SecretKeyState, take_new_secret_key
    from agent_runner.status.store.store import Store

    async def run() -> SecretKeyState:
        store = Store.open(settings.database_url)
        try:
            return await take_new_secret_key(store, Sealing(settings.secret_key.get_secret_value()))
        finally:
            await store.close()

    state = asyncio.run(run())
    return f"this secret key is the database's from now on{f'; {state.said}' if state.said else ''}"
