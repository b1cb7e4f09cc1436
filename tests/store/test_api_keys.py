"""API keys in the store: found by their public id, revoked once, never with the key itself."""

import pytest

from agent_runner.status.api_keys import ApiKey, Scope
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock


async def key(store: Store, id: str = "k1", *, org: str = "", scopes: tuple[Scope, ...] = (Scope.READ,)) -> ApiKey:
    return await store.add_key(id=id, name=f"name of {id}", scopes=scopes, org=org, digest=f"digest of {id}")


async def test_a_key_is_found_as_it_was_made(store: Store, clock: Clock) -> None:
    """Name, scopes, org and digest come back; the time is the database's; it was never used and not revoked."""
    made = await key(store, org="a", scopes=(Scope.READ, Scope.EXECUTE))
    assert made == await store.find_key("k1")
    assert (made.name, made.org, made.digest) == ("name of k1", "a", "digest of k1")
    assert made.scopes == {Scope.READ, Scope.EXECUTE}
    assert (made.created_at, made.last_used_at, made.revoked_at) == (clock.at, None, None)
    assert await store.find_key("k2") is None


async def test_a_key_is_revoked_once(store: Store, clock: Clock) -> None:
    """A revoked key stays and says since when; revoking it again does not move that time."""
    await key(store)
    clock.advance(5)
    revoked = await store.revoke_key("k1")
    assert revoked is not None
    assert revoked.revoked_at == clock.at
    clock.advance(5)
    assert await store.revoke_key("k1") == revoked
    assert await store.find_key("k1") == revoked
    assert await store.revoke_key("k2") is None


async def test_the_last_use_is_noted(store: Store, clock: Clock) -> None:
    """key_used writes the time of the database; for an unknown key nothing happens."""
    await key(store)
    clock.advance(60)
    await store.key_used("k1")
    await store.key_used("k2")
    found = await store.find_key("k1")
    assert found is not None
    assert found.last_used_at == clock.at


async def test_keys_are_listed_newest_first(store: Store, clock: Clock) -> None:
    """All keys, or those of one org; a key of all orgs belongs to none of them."""
    for id, org in (("k1", "a"), ("k2", "b"), ("k3", "")):
        await key(store, id, org=org)
        clock.advance(1)
    await store.revoke_key("k2")
    assert [k.id for k in await store.list_keys()] == ["k3", "k2", "k1"]
    assert [k.id for k in await store.list_keys(org="a")] == ["k1"]


async def test_an_id_is_used_once(store: Store) -> None:
    """A second key with the same id is refused, and the first one stays."""
    await key(store, scopes=(Scope.READ,))
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await key(store, scopes=(Scope.ADMIN,))
    found = await store.find_key("k1")
    assert found is not None
    assert found.scopes == {Scope.READ}
