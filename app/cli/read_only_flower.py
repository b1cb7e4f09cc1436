"""Flower that only shows: `python -m app.cli.read_only_flower flower ...` is `celery flower ...` without its levers.

Flower has no such option of its own. Whatever it changes, it changes by a POST; the one POST that only reads fills the
table of tasks.
"""

import sys
from typing import Any

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
READING_POST = "/tasks/datatable"
REFUSAL = "This Flower only shows. AGENT_RUNNER_FLOWER_CONTROL=true lets it revoke tasks and stop workers."


def main() -> int:
    import flower.command
    from celery.__main__ import main as celery
    from flower.app import Flower
    from tornado.web import RequestHandler

    class Refused(RequestHandler):
        def prepare(self) -> None:
            self.set_status(403)
            self.finish(REFUSAL)

        def check_xsrf_cookie(self) -> None:
            """Nothing is done, so nothing can be forged."""

    class ReadOnlyFlower(Flower):  # type: ignore[misc]
        def find_handler(self, request: Any, **rest: Any) -> Any:
            if request.method in READING_METHODS or request.path.endswith(READING_POST):
                return super().find_handler(request, **rest)
            return self.get_handler_delegate(request, Refused)

    flower.command.Flower = ReadOnlyFlower
    sys.argv[0] = "celery"
    return celery() or 0


if __name__ == "__main__":
    sys.exit(main())
