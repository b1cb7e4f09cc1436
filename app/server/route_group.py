"""Routes with the same guard, of which each is made once, and read by FastAPI when it is first needed.

To read a route (its parameters, models and answers) takes about a millisecond, and there are more than a hundred.
`FastAPI.include_router` reads each twice, before the first answer of every server.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.routing import compile_path


class LateRoute(APIRoute):
    """Has what tells whether a request is for it. All else comes with the first request or with the description."""

    methods: set[str]

    def __init__(
        self, path: str, endpoint: Callable[..., Any], *, methods: Iterable[str] | None = None, **options: Any
    ) -> None:
        self.path, self.endpoint = path, endpoint
        self.methods = {method.upper() for method in methods or ("GET",)}
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self._options = options

    def guard(self, by: Sequence[Depends]) -> None:
        """Have `by` called before the endpoint. Only before the first request."""
        self._options["dependencies"] = [*by, *self._options["dependencies"]]

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet."""
        options = self.__dict__.pop("_options", None)
        if options is None:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        super().__init__(self.path, self.endpoint, methods=self.methods, **options)
        return getattr(self, name)


class RouteGroup(APIRouter):
    """Routes whose addresses begin alike, and what they are described under. Put its `routes` into the application's:
    to include it would read them all."""

    def __init__(self, *, prefix: str = "", tags: Sequence[str] = ()) -> None:
        super().__init__(prefix=prefix, tags=[*tags], route_class=LateRoute)

    def guarded(self, by: Sequence[Depends]) -> list[Any]:
        """Its routes, behind the guard."""
        for route in self.routes:
            if isinstance(route, LateRoute):
                route.guard(by)
        return self.routes
