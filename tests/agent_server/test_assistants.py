"""Assistants and what a worker says of their graphs; the store of graphs."""

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

from agent_runner.app.server.agent_server.assistants.assistant_service import default_id
from tests.agent_server.conftest import run
from tests.integration.stack import Stack


async def test_every_graph_has_an_assistant(client: Any) -> None:
    """Its id is made from the graph's name; agents have one too."""
    found = await client.assistants.search(limit=100, metadata={"created_by": "system"})
    by_graph = {one["graph_id"]: one for one in found}
    assert {"adder", "asker", "nested", "failing", "noting", "agent-runner"} <= by_graph.keys()
    assert by_graph["adder"]["assistant_id"] == default_id("adder")
    assert by_graph["adder"]["version"] == 1
    assert await client.assistants.get(default_id("adder")) == by_graph["adder"]
    assert await client.assistants.count(graph_id="adder") == 1
    with pytest.raises(NotFoundError):
        await client.assistants.search(graph_id="nobody")


async def test_versions_of_an_assistant(client: Any) -> None:
    """Each change is a version; an earlier one can be made the latest again."""
    mine = str(uuid.uuid4())
    made = await client.assistants.create(
        "adder", assistant_id=mine, name="One", metadata={"a": 1}, context={"unit": "m"}, description="first"
    )
    assert (made["assistant_id"], made["version"], made["context"]) == (mine, 1, {"unit": "m"})
    with pytest.raises(ConflictError):
        await client.assistants.create("adder", assistant_id=mine)
    same = await client.assistants.create("adder", assistant_id=mine, if_exists="do_nothing", name="Two")
    assert same["name"] == "One"
    second = await client.assistants.update(mine, name="Two", metadata={"b": 2}, context={"unit": "km"})
    assert (second["version"], second["metadata"]) == (2, {"a": 1, "b": 2})
    assert [one["version"] for one in await client.assistants.get_versions(mine)] == [2, 1]
    first = await client.assistants.set_latest(mine, 1)
    assert (first["version"], first["name"], first["context"]) == (1, "One", {"unit": "m"})
    third = await client.assistants.update(mine, name="Three")
    assert (third["version"], third["context"]) == (3, {"unit": "m"})
    with pytest.raises(NotFoundError):
        await client.assistants.set_latest(mine, 9)
    await client.assistants.delete(mine)
    with pytest.raises(NotFoundError):
        await client.assistants.get(mine)


async def test_an_assistant_goes_with_its_threads(client: Any, served: Stack) -> None:
    """Only if it is asked for: those whose metadata names it, with their runs; threads of others stay."""
    mine = (await client.assistants.create("adder"))["assistant_id"]
    threads = [(await client.threads.create())["thread_id"] for _ in range(3)]
    for thread in threads[:2]:
        await client.runs.wait(thread, mine, input={"value": 1})
    await client.runs.wait(threads[2], "adder", input={"value": 1})
    (run,) = await client.runs.list(threads[0])
    await client.assistants.delete(mine, delete_threads=True)
    for thread in threads[:2]:
        with pytest.raises(NotFoundError):
            await client.threads.get(thread)
    assert served.http.get(f"/v1/executions/{run['execution_id']}").status_code == 404
    assert (await client.threads.get(threads[2]))["values"]["value"] == 4
    with pytest.raises(NotFoundError):
        await client.assistants.delete(mine, delete_threads=True)


async def test_context_and_configurable_are_the_same_values(client: Any) -> None:
    """An assistant shows under both names what was given under one; a run's own values stand above them, whichever of
    the two names it uses, and what the graph does not declare is dropped."""
    made = await client.assistants.create("showing", context={"unit": "m", "size": 1})
    assert made["config"]["configurable"] == made["context"] == {"unit": "m", "size": 1}
    mine = made["assistant_id"]

    async def context_of(**how: Any) -> Any:
        return (await client.runs.wait(None, mine, input={"asked": "?"}, **how))["context"]

    assert await context_of() == {"unit": "m", "size": 1}
    assert await context_of(context={"unit": "km", "other": 1}) == {"unit": "km", "size": 1}
    assert await context_of(config={"configurable": {"unit": "mm"}}) == {"unit": "mm", "size": 1}
    changed = await client.assistants.update(mine, config={"configurable": {"size": 2}})
    assert changed["config"]["configurable"] == changed["context"] == {"size": 2}
    assert await context_of() == {"size": 2}


async def test_a_changed_default_assistant_comes_back(client: Any) -> None:
    """What was changed of it has versions; deleting it brings it back as it was at first."""
    id = default_id("noting")
    before = await client.assistants.get(id)
    changed = await client.assistants.update(id, name="Notes")
    assert (changed["version"], changed["name"]) == (2, "Notes")
    assert [one["name"] for one in await client.assistants.get_versions(id)] == ["Notes", "noting"]
    await client.assistants.delete(id)
    assert (await client.assistants.get(id))["name"] == before["name"] == "noting"


@pytest.mark.promise("5.06")
async def test_the_shape_of_a_graph(client: Any) -> None:
    """Schemas, drawing and sub-graphs, from a worker: the server imports no graph."""
    schemas = await client.assistants.get_schemas(default_id("adder"))
    assert schemas["graph_id"] == "adder"
    for part in ("input_schema", "output_schema", "state_schema"):
        assert sorted(schemas[part]["properties"]) == ["log", "value"]
    assert list(schemas["context_schema"]["properties"]) == ["unit"]
    drawn = await client.assistants.get_graph("adder")
    assert [one["id"] for one in drawn["nodes"]] == ["__start__", "add_one", "double", "__end__"]
    assert {"source": "add_one", "target": "double"} in drawn["edges"]
    inside = await client.assistants.get_graph(default_id("nested"), xray=True)
    assert "inner:thrice" in [one["id"] for one in inside["nodes"]]
    subgraphs = await client.assistants.get_subgraphs(default_id("nested"))
    assert list(subgraphs["inner"]["input_schema"]["properties"]) == ["n"]
    agent = await client.assistants.get_schemas(default_id("agent-runner"))
    assert "messages" in agent["state_schema"]["properties"]


@pytest.mark.promise("5.05")
@pytest.mark.parametrize("value", [{"a": "x\0"}, {"a\0": 1}, {"a": [{"b": ["\0"]}]}])
async def test_the_store_keeps_no_nul(client: Any, value: dict[str, Any]) -> None:
    """Postgres cannot, so it is refused on each database, with the field, in values and in filters."""
    with pytest.raises(UnprocessableEntityError, match=r"value: .*NUL"):
        await client.store.put_item(["a"], "k", value)
    with pytest.raises(UnprocessableEntityError, match=r"filter: .*NUL"):
        await client.store.search_items(["a"], filter=value)


async def test_the_store_of_graphs(client: Any, served: Stack) -> None:
    """What a client puts a graph finds, and the other way round."""
    await client.store.put_item(["notes"], "last", {"text": "by the client"})
    thread = (await client.threads.create())["thread_id"]
    run(served, thread, "noting", input={"text": "by the graph"})
    assert (await client.threads.get_state(thread))["values"]["before"] == "by the client"
    item = await client.store.get_item(["notes"], "last")
    assert (item["value"], item["namespace"]) == ({"text": "by the graph"}, ["notes"])
    found = await client.store.search_items(["notes"], filter={"text": "by the graph"})
    assert [one["key"] for one in found["items"]] == ["last"]
    assert await client.store.list_namespaces(prefix=["notes"]) == {"namespaces": [["notes"]]}
    await client.store.delete_item(["notes"], "last")
    assert await client.store.get_item(["notes"], "last") is None
    with pytest.raises(UnprocessableEntityError):
        await client.store.put_item([""], "k", {})
    refused = served.http.get("/store/items", params={"key": "last"})
    assert (refused.status_code, "namespace" in refused.json()["detail"]) == (422, True)
