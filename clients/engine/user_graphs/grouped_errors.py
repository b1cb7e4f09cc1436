"""Reads groups of errors, as `asyncio.TaskGroup` raises them: their own text says only how many errors are in them."""

from collections.abc import Callable

MAX_ERRORS = 100
MAX_SAID = 5
MAX_SAID_CHARS = 1_000
_OF_TASKS = "unhandled errors in a TaskGroup"


def errors_in(error: BaseException) -> list[BaseException]:
    """The errors in a group, however deep, in their order, at most MAX_ERRORS; of any other error the error itself."""
    found: list[BaseException] = []
    left = [error]
    while left and len(found) < MAX_ERRORS:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left += reversed(one.exceptions)
        else:
            found.append(one)
    return found


def group_text(error: BaseExceptionGroup[BaseException], text_of: Callable[[BaseException], str]) -> str:
    """What the first errors say by `text_of`, the same words once; before them the text that the group was given."""
    inner = errors_in(error)
    told = list(dict.fromkeys(_short(text_of(one)) for one in inner))
    more = [f"and {len(told) - MAX_SAID} more"] if len(told) > MAX_SAID else []
    said = "; ".join([*told[:MAX_SAID], *more])
    if len(inner) > 1:
        said = f"{len(inner)} errors{'' if len(told) > 1 else ', all the same'}: {said}"
    given = "" if error.message == _OF_TASKS else error.message.strip()
    return f"{_short(given)}: {said}" if given else said


def named(error: BaseException) -> str:
    """The class and the text of an error; of a group, those of its errors."""
    if isinstance(error, BaseExceptionGroup):
        return group_text(error, named)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _short(text: str) -> str:
    return text if len(text) <= MAX_SAID_CHARS else f"{text[:MAX_SAID_CHARS]} ..."
