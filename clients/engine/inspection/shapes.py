"""The shape of a graph: its schemas, its drawing, its sub-graphs."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, get_type_hints

from langgraph.constants import END
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, create_model

from agent_runner.clients.engine.inspection.states import QueryRefused
from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.clients.engine.user_graphs.user_graphs import Graph

Json = dict[str, Any]


def schemas_of(graph: Graph, name: str) -> Json:
    """JSON Schemas of input, output, state and context. A schema that cannot be written as JSON is null."""
    builder: Any = getattr(graph, "builder", None)
    context = _schema(graph.get_context_jsonschema, graph.context_schema) if graph.context_schema else None
    return {
        "input_schema": _schema(graph.get_input_jsonschema, getattr(builder, "input_schema", None)),
        "output_schema": _schema(graph.get_output_jsonschema, getattr(builder, "output_schema", None)),
        "state_schema": _state_schema(graph, name) or {},
        "config_schema": context or {},
        "context_schema": context,
    }


def _state_schema(graph: Graph, name: str) -> Json | None:
    channels: Mapping[str, Any] = graph.channels
    fields = {one: channels[one].UpdateType for one in graph.stream_channels_list if one in channels}
    return _tried(lambda: _of_fields(name, fields))


def _schema(made: Callable[[], Any], declared: Any) -> Json | None:
    """As LangGraph writes it. Before Python 3.12 pydantic refuses `typing.TypedDict`: then from the declared fields."""
    found = _tried(made)
    if found is None and declared is not None:
        required: Collection[str] = getattr(declared, "__required_keys__", ())
        found = _tried(lambda: _of_fields(declared.__name__, get_type_hints(declared), required))
    return found


def _of_fields(name: str, fields: Mapping[str, Any], required: Collection[str] = ()) -> Json:
    """A field whose type has no schema may be anything; private ones are left out."""
    given: dict[str, Any] = {}
    for one, kind in fields.items():
        if not one.startswith("_"):
            has_schema = _tried(TypeAdapter(kind).json_schema) is not None if _is_known(kind) else False
            given[one] = (kind if has_schema else Any, ... if one in required else None)
    schema: Json = create_model(name, **given).model_json_schema()
    return schema


def _is_known(kind: Any) -> bool:
    try:
        TypeAdapter(kind)
    except Exception:  # whatever a foreign type does
        return False
    return True


def _tried(made: Callable[[], Any]) -> Json | None:
    try:
        found = made()
    except Exception:  # types that pydantic has no schema for
        return None
    return plain_part(found) if isinstance(found, Mapping) else None


async def drawing_of(graph: Graph, asked: Mapping[str, Any]) -> Json:
    """`{nodes, edges}`; `xray`: with the insides of sub-graphs, to that depth."""
    xray = asked.get("xray") or False
    try:
        drawn = await graph.aget_graph(xray=xray)
    except Exception as error:  # code of the graph: its conditional edges are looked at
        raise QueryRefused("invalid", f"the graph cannot be drawn: {error}") from error
    nodes = [
        {"id": node.id} if node.id == END else {"id": node.id, "type": "runnable", "data": {"name": node.id}}
        for node in drawn.nodes.values()
    ]
    edges = []
    for edge in drawn.edges:
        one: Json = {"source": edge.source, "target": edge.target}
        if edge.conditional:
            one["conditional"] = True
        if edge.data is not None:
            one["data"] = plain_part(edge.data)
        edges.append(one)
    return {"nodes": nodes, "edges": edges}


async def subgraphs_of(graph: Graph, asked: Mapping[str, Any]) -> Json:
    """The schemas of sub-graphs that run here, by namespace; `namespace`: only that one, `recurse`: theirs too."""
    found = graph.aget_subgraphs(namespace=asked.get("namespace") or None, recurse=bool(asked.get("recurse")))
    return {name: schemas_of(inner, inner.get_name()) async for name, inner in found if isinstance(inner, Pregel)}
