"""The HTTP application, put together."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from agent_runner.app.server.access.known_key import KnownKey
from agent_runner.app.server.agent_server.cross_origin import CrossOrigin
from agent_runner.app.server.agent_server.edge import agent_server_routes
from agent_runner.app.server.agent_server.edge_paths import is_edge
from agent_runner.app.server.agent_server.load import Load
from agent_runner.app.server.agent_server.refusals import refusal
from agent_runner.app.server.agent_server.server_facts import server_facts
from agent_runner.app.server.answers.answer_routes import answer_routes
from agent_runner.app.server.budgets.budget_routes import budget_routes
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.front_ends.agui_routes import agui_routes
from agent_runner.app.server.front_ends.ai_sdk_routes import ai_sdk_routes
from agent_runner.app.server.http.document.document import allowed_methods, describe
from agent_runner.app.server.http.guard import METRICS, Guard
from agent_runner.app.server.http.hosts import KnownHosts
from agent_runner.app.server.http.limits import TOO_LARGE_NEXT, add_inner, add_outer
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.http.pages import Page
from agent_runner.app.server.http.readiness import readiness_routes
from agent_runner.app.server.http.routes.execution_routes import execution_routes, plain_routes
from agent_runner.app.server.http.routes.key_routes import key_routes
from agent_runner.app.server.http.routes.listing_routes import listing_routes
from agent_runner.app.server.http.routes.page_routes import page_routes
from agent_runner.app.server.http.routes.resource_routes import resource_routes
from agent_runner.app.server.http.routes.retention_routes import retention_routes
from agent_runner.app.server.http.routes.runner_routes import runner_routes
from agent_runner.app.server.http.routes.schedule_routes import schedule_routes
from agent_runner.app.server.http.routes.session_routes import session_routes
from agent_runner.app.server.problems import Kind, Problem, invalid
from agent_runner.clients.settings.access_settings import DUMMY_LOCAL_KEY

_ROUTES = (
    budget_routes, resource_routes, session_routes, runner_routes, key_routes, retention_routes, page_routes,
    schedule_routes,
)  # fmt: skip
_KINDS = {404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED, 413: Kind.TOO_LARGE}


def build_http_app(ctx: ServerContext) -> FastAPI:
    """Everything under `/v1` needs the key; the page, the docs, health and metrics hold no data and are open."""
    edges = Edges.of(ctx)
    metrics, load = Metrics(ctx), Load(ctx)
    app = FastAPI(title="Agent Runner", version=_version(), docs_url=None, redoc_url=None)

    async def admitted(request: Request) -> None:
        ctx.gate.admit(f"{request.method} {request.scope['route'].path}")

    documented = HTTPBearer(auto_error=False, description="STIGMER_API_KEY, or a key of `agent-runner keys`")
    guarded = [Depends(documented), Depends(admitted)]
    streaming = [routes(edges, metrics) for routes in (execution_routes, agui_routes, ai_sdk_routes)]
    first = listing_routes(edges, ctx, metrics)
    answers = answer_routes(edges, metrics, ctx.store)
    routers = (first, *streaming, answers, *(routes(edges) for routes in _ROUTES), *agent_server_routes(edges))
    app.router.routes += plain_routes(edges, metrics)
    for router in routers:
        app.router.routes += router.guarded(guarded)
    app.router.routes += readiness_routes(ctx).routes + server_facts(edges, _version()).routes

    @app.get(METRICS, include_in_schema=False)
    async def show_metrics(format: str = "") -> Response:
        if not ctx.settings.metrics_open:
            ctx.gate.admit(f"GET {METRICS}")
        if format == "json":
            return JSONResponse(await load.told())
        return Response(await metrics.scraped(), media_type=metrics.content_type)

    live, described = Page("index.html"), Page("api.html")
    app.openapi = cache(lambda: describe(app))  # type: ignore[method-assign]

    @app.get("/", include_in_schema=False)
    async def main_page(request: Request) -> Response:
        return live.answer(request)

    @app.get("/docs", include_in_schema=False)
    async def api_page(request: Request) -> Response:
        return described.answer(request)

    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    add_inner(app, max_request_bytes=ctx.settings.max_request_bytes)
    own_user = KnownKey(ctx.settings)
    app.add_middleware(
        Guard,
        gate=ctx.gate,
        known_key=own_user,
        metrics=metrics,
        metrics_open=ctx.settings.metrics_open,
        tracing=ctx.tracing,
    )
    add_outer(app, origins=ctx.settings.allowed_origins)
    known_key = own_user.allowed or ctx.settings.api_key.get_secret_value() in ("", DUMMY_LOCAL_KEY)
    asked = ctx.settings.server_of_graphs
    app.add_middleware(CrossOrigin, origins=ctx.settings.allowed_origins, known_key=known_key, asked=asked)
    app.add_middleware(KnownHosts, hosts=ctx.settings.hosts)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """The answer to a request that the router itself refuses: no such route, wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    kind = _KINDS.get(status, Kind.INVALID_ARGUMENT if status < 500 else Kind.INTERNAL)
    detail = f"{request.method} {request.url.path}: {getattr(error, 'detail', '')}"
    next_step = TOO_LARGE_NEXT if kind is Kind.TOO_LARGE else "/docs lists the routes."
    if is_edge(request.url.path):
        detail = str(getattr(error, "detail", detail))
    answer = refusal(request.url.path, Problem(kind, detail, next_step=next_step))
    if kind is Kind.METHOD_NOT_ALLOWED:
        # The router names only the methods of the first route with this path.
        allowed = allowed_methods(request.app.openapi(), request.url.path)
        routed = getattr(error, "headers", None) or {}
        answer.headers["Allow"] = ", ".join(allowed) or routed.get("Allow", "GET")
    return answer


async def _not_valid(request: Request, error: Exception) -> Response:
    """The answer to parameters or bodies that do not match the route's types."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    told = "; ".join(f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in errors)
    problem = invalid(told or "the request cannot be read")
    if is_edge(request.url.path):
        problem = Problem(Kind.UNPROCESSABLE, problem.detail, next_step=problem.next_step)
    return refusal(request.url.path, problem)


def _version() -> str:
    try:
        return version("agent-runner")
    except PackageNotFoundError:
        return "0"
