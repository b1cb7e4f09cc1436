"""`/v1/answer`: a question by its token, and `/v1/executions/{id}/answer-token`, which makes one."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from agent_runner.app.server.answers.answer_access import PATH
from agent_runner.app.server.answers.answer_service import Answers
from agent_runner.app.server.contract.create_limits import create_bytes, create_limits
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.http.answers import body_json, body_model
from agent_runner.app.server.http.document.schemas import STRING, answer, body_of, object_of
from agent_runner.app.server.http.metrics import Metrics
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.status.log.log import rfc3339
from agent_runner.status.questions import expected_text
from agent_runner.status.store.store import Store

LEAST_S, LONGEST_S = 1.0, 30 * 86_400.0
NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_TIME = {"type": "string", "format": "date-time"}
_QUESTION = {"type": "object", "description": "as in `questions` of an execution"}
_ISSUED = object_of(
    token=STRING,
    url={"type": "string", "description": "the path of the question, with the token in it"},
    question_id=STRING,
    expires_at=_TIME,
)
_ASKED = object_of(
    execution_id=STRING,
    session_id=STRING,
    question=_QUESTION,
    expected={"type": "string", "description": "what kind of answer it takes, in words"},
    expires_at=_TIME,
)
_ANSWERED = object_of(
    execution_id={"type": "string", "description": "the new execution, which brings the answer"},
    session_id=STRING,
    question_id=STRING,
)
_ANSWER = object_of(answer={"description": "any JSON that the question takes: approve, edit, reject, respond, a text"})
_ANSWER["additionalProperties"] = False
TokenText = Annotated[
    str, Query(alias="token", description="of the question; or in `Authorization: Bearer`, in place of a key")
]


class TokenWish(BaseModel):
    """`question_id`: needed if several are open. `lasts_s`: at most AGENT_RUNNER_ANSWER_TOKEN_S, the default."""

    model_config = ConfigDict(extra="forbid")

    question_id: Annotated[str, Field(max_length=500)] = ""
    lasts_s: Annotated[float, Field(ge=LEAST_S, le=LONGEST_S, allow_inf_nan=False)] | None = None


def answer_routes(edges: Edges, metrics: Metrics, server_store: Store) -> RouteGroup:
    handlers = AnswerHandlers(Answers(edges, server_store), edges, metrics)
    routes = RouteGroup(tags=["answers"])
    add, wish = routes.add_api_route, body_of(TokenWish.model_json_schema(), required=False)
    conflict = {409: {"$ref": "#/components/responses/Refused409"}}
    add("/v1/executions/{execution_id}/answer-token", handlers.issue, methods=["POST"], status_code=201,
        openapi_extra=wish, responses={201: answer(_ISSUED, "shown once")})  # fmt: skip
    add(PATH, handlers.show, methods=["GET"], responses={200: answer(_ASKED), **conflict})  # type: ignore[dict-item]
    add(PATH, handlers.answer, methods=["POST"], status_code=201, openapi_extra=body_of(_ANSWER),
        responses={201: answer(_ANSWERED, "accepted; the token is used")})  # fmt: skip
    return routes


class AnswerHandlers:
    def __init__(self, answers: Answers, edges: Edges, metrics: Metrics) -> None:
        self._answers = answers
        self._settings = edges.ctx.settings
        self._metrics = metrics

    async def issue(self, request: Request, execution_id: str) -> Response:
        """A token that answers one open question of the execution once, without a key."""
        given = await body_model(request, TokenWish) if await request.body() else TokenWish()
        made = await self._answers.issue(execution_id, given.question_id, given.lasts_s)
        shown = {
            "token": made.token.text,
            "url": made.token.url,
            "question_id": made.question["id"],
            "expires_at": rfc3339(made.expires_at),
        }
        return JSONResponse(shown, status_code=201, headers=NOT_KEPT)

    async def show(self, request: Request, token: TokenText = "") -> Response:
        """The question of a token. The token stays good: a link may be looked at as often as one likes."""
        del token  # read before the route, and taken out of the address
        found = await self._answers.open(_shown_token(request))
        shown = {
            "execution_id": found.execution.id,
            "session_id": found.execution.session_id,
            "question": dict(found.question),
            "expected": expected_text(found.question),
            "expires_at": rfc3339(found.expires_at),
        }
        return JSONResponse(shown, headers=NOT_KEPT)

    async def answer(self, request: Request, token: TokenText = "") -> Response:
        """The answer to the question of a token, which is used by that: `{"answer": JSON}`."""
        del token
        body = await body_json(request, create_bytes(self._settings), limited_by=create_limits(self._settings))
        if not isinstance(body, dict) or body.keys() != {"answer"}:
            raise invalid('the body must be {"answer": JSON}')
        shown = _shown_token(request)
        question_id = (await self._answers.open(shown)).question["id"]
        made = await self._answers.answer(shown, body["answer"])
        self._metrics.accepted.inc()
        answered = {"execution_id": made.id, "session_id": made.session_id, "question_id": question_id}
        return JSONResponse(answered, status_code=201, headers=NOT_KEPT)


def _shown_token(request: Request) -> str:
    """The guard has read it."""
    token: Any = request.state.answer_token
    return str(token)
