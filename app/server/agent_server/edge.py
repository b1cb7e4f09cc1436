"""The routers of this edge, put together."""

from collections.abc import Sequence

from agent_runner.app.server.agent_server.assistants.assistant_routes import assistant_routes
from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService
from agent_runner.app.server.agent_server.assistants.graph_shapes import graph_shape_routes
from agent_runner.app.server.agent_server.items.cron_routes import cron_routes
from agent_runner.app.server.agent_server.items.store_routes import store_routes
from agent_runner.app.server.agent_server.queries.graph_questions import GraphQuestions
from agent_runner.app.server.agent_server.runs.run_routes import run_routes
from agent_runner.app.server.agent_server.threads.state_routes import state_routes
from agent_runner.app.server.agent_server.threads.thread_routes import thread_routes
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.threads.thread_states import ThreadStates
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.route_group import RouteGroup


def agent_server_routes(edges: Edges) -> Sequence[RouteGroup]:
    """All of them need a key; `/ok` and `/info`, which do not, are `server_facts`. Groups that `http.disable_*` of
    langgraph.json leaves out are not there."""
    assistants = AssistantService(edges.ctx)
    threads = ThreadService(edges)
    questions = GraphQuestions(edges.ctx)
    states = ThreadStates(edges.ctx, questions, assistants)
    groups = [
        ("runs", cron_routes(edges, threads, assistants)),
        ("assistants", assistant_routes(assistants, threads)),
        ("assistants", graph_shape_routes(edges, assistants, questions)),
        ("runs", run_routes(edges, threads, assistants)),
        ("threads", thread_routes(threads, states)),
        ("threads", state_routes(threads, states)),
        ("store", store_routes(questions)),
    ]
    hidden = edges.ctx.settings.server_of_graphs.hidden
    return [routes for group, routes in groups if group not in hidden]
