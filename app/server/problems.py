"""The errors that a caller of the server can get.

One exception, `Problem`, with a `Kind` that knows its gRPC code and its HTTP status. gRPC shows `detail` (and the next
step) in the status text; HTTP shows `application/problem+json` with `code`, `title`, `detail` and `next_step`.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

from agent_runner.app.server.contract.rules import Violation
from agent_runner.status.failures import Code, describe
from agent_runner.status.phases import UnknownName
from agent_runner.status.store.errors import (
    ClaimedNatively,
    NotItsTurn,
    OtherKeysWorker,
    SlugTaken,
    StaleVersion,
    StoreError,
    StoreUnavailable,
    Terminal,
)

Found = TypeVar("Found")


class Kind(Enum):
    """The gRPC code's name, the HTTP status, the title."""

    INVALID_ARGUMENT = ("INVALID_ARGUMENT", 400, "The request is not valid")
    UNPROCESSABLE = ("INVALID_ARGUMENT", 422, "The request cannot be read")
    OUT_OF_RANGE = ("OUT_OF_RANGE", 400, "The position does not exist")
    UNAUTHENTICATED = ("UNAUTHENTICATED", 401, "The API key is missing or wrong")
    PERMISSION_DENIED = ("PERMISSION_DENIED", 403, "The API key may not do this")
    NOT_FOUND = ("NOT_FOUND", 404, "Not found")
    METHOD_NOT_ALLOWED = ("UNIMPLEMENTED", 405, "The method is not allowed here")
    ALREADY_EXISTS = ("ALREADY_EXISTS", 409, "It exists already")
    FAILED_PRECONDITION = ("FAILED_PRECONDITION", 409, "Not possible in the present state")
    CONFLICT = ("ABORTED", 409, "It was changed in between")
    TOO_LARGE = ("RESOURCE_EXHAUSTED", 413, "The request is too large")
    HEAD_TOO_LARGE = ("RESOURCE_EXHAUSTED", 431, "The head of the request is too large")
    TOO_SLOW = ("DEADLINE_EXCEEDED", 408, "The request came too slowly")
    TOO_MANY = ("RESOURCE_EXHAUSTED", 429, "Too many are waiting")
    TOO_FAST = ("RESOURCE_EXHAUSTED", 429, "Too many requests")
    INTERNAL = ("INTERNAL", 500, "The server failed")
    UNIMPLEMENTED = ("UNIMPLEMENTED", 501, "Not available")
    UNAVAILABLE = ("UNAVAILABLE", 503, "Something the server needs cannot be reached")

    @property
    def grpc_code(self) -> str:
        """The name of the `grpc.StatusCode`."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        return self.value[1]

    @property
    def title(self) -> str:
        return self.value[2]


class Problem(Exception):
    """`code` is the failure code where there is one (`E501`), else the gRPC code's name."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        next_step: str = "",
        code: str = "",
        violations: Sequence[Violation] = (),
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.next_step = next_step
        self.code = code or kind.grpc_code
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s

    @property
    def text(self) -> str:
        """One line with everything, for gRPC's status text."""
        said = f"{self.detail} [{self.code}]" if self.code != self.kind.grpc_code else self.detail
        return f"{said}. {self.next_step}" if self.next_step else said

    def as_json(self) -> dict[str, Any]:
        """The body of an `application/problem+json` answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": self.kind.title,
            "status": self.kind.http_status,
            "detail": self.detail,
            "code": self.code,
            "next_step": self.next_step,
        }
        if self.violations:
            body["violations"] = [{"field": v.field, "text": v.text} for v in self.violations]
        return body


class FiringTaken(Problem):
    """A schedule was fired by somebody else, or changed: nothing was made."""

    def __init__(self) -> None:
        super().__init__(
            Kind.CONFLICT,
            "the schedule was fired or changed in between",
            next_step="Look at its firings, then fire it again.",
        )


def invalid(detail: str, *, next_step: str = "Correct the request and send it again.") -> Problem:
    return Problem(Kind.INVALID_ARGUMENT, detail, next_step=next_step)


def known(field: str, look_up: Callable[[Any], Found], given: Any) -> Found:
    """The enum's value for the name, by its own look-up. Raises INVALID_ARGUMENT that names the field."""
    try:
        return look_up(given)
    except UnknownName as error:
        raise invalid(f"{field}: {error}") from None


def violated(violations: Sequence[Violation]) -> Problem:
    """Every rule that a message breaks, in one answer."""
    detail = "; ".join(v.text if v.field in v.text else f"{v.field}: {v.text}" for v in violations)
    return Problem(
        Kind.INVALID_ARGUMENT, detail, next_step="Correct these fields and send it again.", violations=violations
    )


def not_found(what: str, id_: str) -> Problem:
    return Problem(
        Kind.NOT_FOUND, f"{what} '{id_}' not found", next_step="Check the id, or list what there is; it may be deleted."
    )


def exists(what: str, id_: str) -> Problem:
    return Problem(
        Kind.ALREADY_EXISTS, f"{what} '{id_}' exists", next_step="Update it, or leave the id out to make another one."
    )


def failed_precondition(detail: str, *, next_step: str) -> Problem:
    return Problem(Kind.FAILED_PRECONDITION, detail, next_step=next_step)


def broker_unavailable(cause: str) -> Problem:
    """E501: nothing was stored, the caller may send it again."""
    failure = describe(Code.BROKER_UNAVAILABLE, {"cause": cause})
    return Problem(Kind.UNAVAILABLE, failure.text, next_step=failure.next_step, code=failure.code.value)


def of_exception(error: BaseException) -> Problem | None:
    """The problem for an exception; None for an unexpected exception."""
    match error:
        case Problem():
            return error
        case Terminal():
            return failed_precondition(
                str(error) or "the execution has ended; its status is final",
                next_step="Send a new message, or redrive the execution.",
            )
        case NotItsTurn():
            return failed_precondition(
                str(error) or "the execution waits for the one in front of it in its session",
                next_step="Report on it when the execution in front of it has ended, or cancel that one.",
            )
        case ClaimedNatively():
            return failed_precondition(
                str(error) or "the execution is reported by its worker through the runner service",
                next_step="updateStatus is for executions of workers that run with AGENT_RUNNER_REPORTING=compatible.",
            )
        case SlugTaken():
            return Problem(
                Kind.ALREADY_EXISTS,
                str(error) or "a resource of this kind has this name already",
                next_step="Choose another name, or update the existing one.",
            )
        case OtherKeysWorker():
            return Problem(
                Kind.PERMISSION_DENIED,
                "the worker process was registered with another key",
                next_step="Use the key that the process was started with; one that starts anew has a new incarnation.",
            )
        case StaleVersion():
            return Problem(
                Kind.CONFLICT, str(error) or "changed in between", next_step="Read it again, then repeat the change."
            )
        case StoreUnavailable() | StoreError():
            return Problem(
                Kind.UNAVAILABLE,
                "the database cannot be reached",
                next_step="Try again; agent-runner doctor shows the database's state.",
            )
    return None


def internal() -> Problem:
    """The problem for an unexpected error. The cause is in the log, not in the answer, because it may hold anything."""
    return Problem(
        Kind.INTERNAL, "the server failed on this request", next_step="Look at the server's log around this time."
    )
