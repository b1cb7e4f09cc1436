"""Refusals as clients of this API read them: `detail` is a text, beside it our code and the next step."""

from fastapi.responses import JSONResponse

from agent_runner.app.server.agent_server.edge_paths import is_edge
from agent_runner.app.server.http.answers import problem_answer
from agent_runner.app.server.problems import Kind, Problem


def refusal(path: str, problem: Problem) -> JSONResponse:
    """The answer to a request for this path, in the form of the edge that the path belongs to."""
    if not is_edge(path):
        return problem_answer(problem)
    answer = problem_answer(problem)
    headers = {name: value for name, value in answer.headers.items() if name in ("www-authenticate", "retry-after")}
    if problem.kind is Kind.METHOD_NOT_ALLOWED:
        headers["allow"] = "POST"
    return JSONResponse(refusal_json(problem), status_code=problem.kind.http_status, headers=headers)


def refusal_json(problem: Problem) -> dict[str, str]:
    return {"detail": problem.detail, "code": problem.code, "next_step": problem.next_step}


def unprocessable(detail: str, *, next_step: str = "Correct the request and send it again.") -> Problem:
    """422: what the request says cannot be read as what this route takes."""
    return Problem(Kind.UNPROCESSABLE, detail, next_step=next_step)


def invalid_request(detail: str, *, next_step: str) -> Problem:
    """400: it can be read, but not be done."""
    return Problem(Kind.INVALID_ARGUMENT, detail, next_step=next_step)


def absent(what: str, id: str) -> Problem:
    return Problem(
        Kind.NOT_FOUND,
        f"{what} '{id[:80]}' not found",
        next_step=f"Check the id, or search for what there is; the {what.lower()} may be deleted, or another org's.",
    )


def taken(what: str, id: str) -> Problem:
    return Problem(
        Kind.ALREADY_EXISTS,
        f"{what} '{id[:80]}' already exists",
        next_step='Choose another id, or send "if_exists": "do_nothing".',
    )
