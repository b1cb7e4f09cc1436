"""Search by meaning in the store of graphs: SQLite as it is, Postgres with pgvector; and what keeps it from that."""

import asyncio
from pathlib import Path

import pytest
from langgraph.store.base import PutOp

from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.store.org_store import StoreError
from tests.support.databases import postgres_database
from tests.support.waiting import eventually
from tests.unit.engine.stores import DIMS, configured, execute, has_pgvector, run_of, vector_url

__all__ = ["vector_url"]
WITHIN_S = 10


@pytest.mark.parametrize(
    "embed", ["./things_of_store.py:embed", "things_of_store.py:embed_async", "things_of_store:embed"]
)
async def test_search_by_meaning(vector_url: str, tmp_path: Path, embed: str) -> None:
    """The nearest come first, of this org only; `fields` says what is embedded, `index` of a put what of this one."""
    index = {"embed": embed, "dims": DIMS, "fields": ["text", "notes[*]"]}
    async with configured(vector_url, tmp_path, {"index": index}) as store:
        for org in ("acme", "other"):
            with running(run_of(org)):
                await store.aput(("m",), "food", {"text": "she likes green apples", "of": org, "notes": ["vegan"]})
                await store.aput(("m",), "car", {"text": "he drives an old red car", "of": org})
                await store.aput(("m",), "hidden", {"text": "green apples", "of": org}, index=False)
        with running(run_of()):
            found = await store.asearch(("m",), query="which apples are green", limit=5)
            assert [(item.key, item.value["of"]) for item in found[:2]] == [("food", "acme"), ("car", "acme")]
            assert [item.key for item in await store.asearch(("m",), query="vegan", limit=1)] == ["food"]
            scores = [item.score for item in found if item.score is not None]
            assert scores == sorted(scores, reverse=True)
            assert "hidden" not in [item.key for item in found if item.score is not None]
            await store.adelete(("m",), "food")
            assert "food" not in [item.key for item in await store.asearch(("m",), query="apples")]
    left = execute(vector_url, "SELECT DISTINCT key FROM store_vectors WHERE prefix LIKE '%616_6d65%' ORDER BY key")
    assert [row[0] for row in left] == ["car"], "what was deleted is still there as numbers"


@pytest.mark.parametrize(
    ("embed", "told"),
    [
        ("./things_of_store.py:nobody", "things_of_store.py defines no 'nobody'"),
        ("./things_of_store.py:not_callable", "'not_callable' is int"),
        ("./nowhere.py:embed", "nowhere.py"),
        ("nobody_knows:embed", "nobody_knows"),
        ("./things_of_store.py:too_short", "2 numbers.* store.index.dims says 512"),
        ("./things_of_store.py:fails", "the embedding model is away"),
    ],
)
async def test_an_embedding_that_cannot_be_used_says_why(tmp_path: Path, embed: str, told: str) -> None:
    """At the first write; the next one tries again."""
    index = {"embed": embed, "dims": DIMS}
    async with configured(f"sqlite:///{tmp_path}/store.db", tmp_path, {"index": index}) as store:
        for _ in range(2):
            with running(run_of()), pytest.raises(Exception, match=told):
                await store.aput(("m",), "k", {"text": "x"})


async def test_other_dimensions_than_those_that_are_stored_are_refused(vector_url: str, tmp_path: Path) -> None:
    """A changed model: the old vectors cannot be compared, and that is said before anything is written."""
    async with configured(
        vector_url, tmp_path, {"index": {"embed": "./things_of_store.py:embed", "dims": DIMS}}
    ) as store:
        with running(run_of()):
            await store.aput(("m",), "k", {"text": "x"})
    other = {"index": {"embed": "./things_of_store.py:too_short", "dims": 2}}
    async with configured(vector_url, tmp_path, other) as store:
        with running(run_of()), pytest.raises(StoreError, match=r"vectors of 512 numbers.*dims.*2.*store_vectors"):
            await store.aput(("m",), "k", {"text": "x"})


async def test_a_postgres_without_pgvector_says_so(tmp_path: Path) -> None:
    """What to install and what to take out; without `index` the same database serves."""
    with postgres_database() as url:
        if has_pgvector(url):
            pytest.skip("this Postgres has pgvector")
        index = {"embed": "./things_of_store.py:embed", "dims": DIMS}
        async with configured(url, tmp_path, {"index": index}) as store:
            with running(run_of()), pytest.raises(StoreError, match=r"store\.index.*pgvector"):
                await store.aput(("m",), "k", {"text": "x"})
        async with configured(url, tmp_path, {}) as store:
            with running(run_of()):
                await store.aput(("m",), "k", {"text": "x"})
                assert await store.aget(("m",), "k") is not None


async def test_the_embedding_sees_no_runs_secrets_when_it_is_made(tmp_path: Path) -> None:
    """It is made once for all orgs: a key of the first run must not pay for, or read, what the others store."""
    from agent_runner.clients.engine.user_graphs import run_environment

    run_environment.install()
    (tmp_path / "keyed_of_store.py").write_text(
        "import os\nseen = os.environ.get('EMBED_KEY', 'none')\n\ndef embed(texts):\n    raise RuntimeError(seen)\n"
    )
    index = {"embed": "./keyed_of_store.py:embed", "dims": DIMS}
    async with configured(f"sqlite:///{tmp_path}/store.db", tmp_path, {"index": index}) as store:
        with running(run_of(env={"EMBED_KEY": "of one org"})), pytest.raises(RuntimeError, match="none"):
            await store.aput(("m",), "k", {"text": "x"})


async def test_a_slow_embedding_holds_up_nobody_else(vector_url: str, tmp_path: Path) -> None:
    """While the vectors of one put are on their way, items without vectors are read and written. A text is asked for
    once, however often its batch has it."""
    index = {"embed": "./things_of_store.py:waits", "dims": DIMS, "fields": ["text"]}
    async with configured(vector_url, tmp_path, {"index": index}) as store:
        with running(run_of()):
            await store.aput(("m",), "plain", {"n": 1}, index=False)
            slow = [asyncio.ensure_future(store.aput(("m",), f"slow-{n}", {"text": "slow"})) for n in range(12)]
            asked = tmp_path / "asked.txt"
            await asyncio.to_thread(eventually, asked.exists, what="the embedding is asked")
            free = asyncio.gather(store.aget(("m",), "plain"), store.aput(("m",), "more", {"n": 2}, index=False))
            await asyncio.wait({free}, timeout=WITHIN_S)
            went_on, waited = free.done(), not any(one.done() for one in slow)
            (tmp_path / "go").touch()
            await asyncio.gather(free, *slow)
            assert (went_on, waited) == (True, True)
            asked.unlink()
            await store.abatch([PutOp(("m",), key, {"text": "twice"}) for key in ("a", "b")])
            assert asked.read_text().split(" | ").count("twice") == 1
            assert {item.key for item in await store.asearch(("m",), query="twice", limit=2)} == {"a", "b"}
