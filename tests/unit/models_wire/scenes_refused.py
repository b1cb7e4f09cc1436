"""Requests that are answered with another status than 200: by the provider, or by what stands before it."""

import json

from tests.unit.models_wire.scenes import (
    ANTHROPIC,
    DONE,
    OLLAMA,
    OPENAI,
    OVERLOADED,
    SERVER_ERROR,
    WIRES,
    Scenario,
    Scene,
    one,
)

GATEWAY = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
LIMIT = {"type": "rate_limit_error", "message": "Slow down"}
SHORT, LONG = {"retry-after": "0.1"}, {"retry-after": "180"}
FIELDS = {"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]}

REFUSED: dict[str, Scenario] = {
    "asked to wait three minutes": one(Scene(status=429, headers=LONG, error=LIMIT)),
    "asked to wait a moment": Scenario(scenes=(Scene(status=429, headers=SHORT, error=LIMIT), DONE)),
    "overloaded (529), once": Scenario(
        scenes=(Scene(status=529, headers=SHORT, error=OVERLOADED), DONE), only=(OPENAI, ANTHROPIC)
    ),
    "overloaded (529), always": one(Scene(status=529, headers=SHORT, error=OVERLOADED)),
    "overloaded (529), for three minutes": one(Scene(status=529, headers=LONG, error=OVERLOADED)),
    "closed for three minutes (503)": one(Scene(status=503, headers=LONG, error=SERVER_ERROR)),
    "failed (500), once": Scenario(scenes=(Scene(status=500, error=SERVER_ERROR), DONE), only=WIRES),
    "failed (500), as an object": one(
        Scene(
            status=500,
            headers=SHORT,
            body=json.dumps(
                {"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}
            ),
        ),
        OPENAI,
    ),
    "a proxy's page (502)": one(Scene(status=502, headers=SHORT, body=GATEWAY, content_type="text/html"), *WIRES),
    "no such page (404)": one(
        Scene(status=404, body=GATEWAY.replace("502 Bad Gateway", "404 Not Found"), content_type="text/html"), *WIRES
    ),
    "a proxy's page (502), once": Scenario(
        scenes=(Scene(status=502, headers=SHORT, body=GATEWAY, content_type="text/html"), DONE), only=WIRES
    ),
    "a proxy that says nothing (504)": one(
        Scene(status=504, headers=SHORT, body=" ", content_type="text/plain"), *WIRES
    ),
    "request refused": one(
        Scene(status=400, error={"type": "invalid_request_error", "message": "temperature is not supported"})
    ),
    "request refused, a field": one(Scene(status=422, body=json.dumps(FIELDS)), OPENAI),
    "request refused, in no known form": one(Scene(status=400, body=json.dumps({"code": "E7", "status": "bad"}))),
    "wrong key": one(Scene(status=401, error={"type": "authentication_error", "message": "invalid x-api-key"})),
    "quota spent": one(
        Scene(
            status=429,
            headers=SHORT,
            error={"type": "insufficient_quota", "code": "insufficient_quota", "message": "You have spent your quota"},
        ),
        OPENAI,
    ),
    "no such model": one(
        Scene(status=404, error={"type": "not_found_error", "message": "The model does not exist"}), *WIRES
    ),
    "too long": one(
        Scene(
            status=400, error={"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}
        )
    ),
    "busy (503), once": Scenario(
        scenes=(Scene(status=503, error={"message": "server busy, please try again"}), DONE), only=(OLLAMA,)
    ),
    "busy (503), always": one(Scene(status=503, error={"message": "server busy, please try again"}), OLLAMA),
}
