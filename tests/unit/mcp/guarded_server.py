"""An MCP server over HTTP that wants an access token, and the authorization server that gives it: `PORT` as argument.

The client is `agent` with the secret `open-sesame-42`.
"""

import base64
import sys

import uvicorn
from mcp.server.fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 0
ISSUER = f"http://127.0.0.1:{PORT}"
TOKEN, CLIENT = "token-of-the-agent-77", "Basic " + base64.b64encode(b"agent:open-sesame-42").decode()
server = FastMCP("guarded", port=PORT)


@server.tool(structured_output=False)
def who() -> str:
    """Who is asking."""
    return f"somebody with {TOKEN}"


@server.custom_route("/.well-known/oauth-protected-resource/mcp", methods=["GET"])  # type: ignore[untyped-decorator]
async def resource(request: Request) -> Response:
    return JSONResponse({"resource": f"{ISSUER}/mcp", "authorization_servers": [ISSUER]})


@server.custom_route("/.well-known/oauth-authorization-server", methods=["GET"])  # type: ignore[untyped-decorator]
async def authorization(request: Request) -> Response:
    places = {"authorization_endpoint": f"{ISSUER}/authorize", "token_endpoint": f"{ISSUER}/token"}
    return JSONResponse({"issuer": ISSUER, "response_types_supported": ["code"], **places})


@server.custom_route("/token", methods=["POST"])  # type: ignore[untyped-decorator]
async def token(request: Request) -> Response:
    if request.headers.get("authorization") != CLIENT:
        return JSONResponse({"error": "invalid_client"}, status_code=401)
    return JSONResponse({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})


class Guard:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"").decode()
        if scope["type"] == "http" and scope["path"] == "/mcp" and given != f"Bearer {TOKEN}":
            where = f'Bearer resource_metadata="{ISSUER}/.well-known/oauth-protected-resource/mcp"'
            await Response(status_code=401, headers={"WWW-Authenticate": where})(scope, receive, send)
            return
        await self._app(scope, receive, send)


if __name__ == "__main__":
    uvicorn.run(Guard(server.streamable_http_app()), port=PORT, log_level="warning")
