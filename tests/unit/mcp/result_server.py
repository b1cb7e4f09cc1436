"""An MCP server by the `mcp` package: a tool for each kind of result, and some that misbehave. Runs in the sandbox.

`python result_server.py [http PORT | sse PORT]`
"""

import asyncio
import base64
import os
import sys

import mcp.types as t
from mcp.server.fastmcp import FastMCP

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
server = FastMCP("results")
sleeps: list[str] = []


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@server.tool()
def text(say: str) -> str:
    """Says it."""
    return say


@server.tool(structured_output=False)
def long_text(size: int) -> str:
    """A text of this size."""
    return "begin" + "x" * size + "end"


@server.tool(structured_output=False)
def picture() -> t.ImageContent:
    """A picture."""
    return t.ImageContent(type="image", data=_encoded(PNG), mimeType="image/png")


@server.tool(structured_output=False)
def sound() -> t.AudioContent:
    """A sound."""
    return t.AudioContent(type="audio", data=_encoded(WAV), mimeType="audio/wav")


@server.tool(structured_output=False)
def link() -> t.ResourceLink:
    """A link to a resource."""
    return t.ResourceLink(type="resource_link", uri="file:///notes/a.md", name="notes", mimeType="text/markdown")  # type: ignore[arg-type]


@server.tool(structured_output=False)
def embedded() -> list[t.EmbeddedResource]:
    """A text and a file, as resources."""
    said = t.TextResourceContents(uri="note://1", mimeType="text/plain", text="what the note says")  # type: ignore[arg-type]
    blob = t.BlobResourceContents(uri="blob://1", mimeType="application/pdf", blob=_encoded(b"%PDF-1.7 "))  # type: ignore[arg-type]
    return [t.EmbeddedResource(type="resource", resource=said), t.EmbeddedResource(type="resource", resource=blob)]


@server.tool()
def structured() -> dict[str, int]:
    """Structured content."""
    return {"degrees": 21}


@server.tool(structured_output=False)
def only_structured() -> t.CallToolResult:
    """Structured content that no text repeats."""
    said = t.TextContent(type="text", text="see the structured content")
    return t.CallToolResult(content=[said], structuredContent={"degrees": 22})


@server.tool(structured_output=False)
def failing() -> str:
    """Fails."""
    raise ValueError("the disk is on fire")


@server.tool(structured_output=False)
def nothing() -> list[str]:
    """Returns nothing."""
    return []


@server.tool(structured_output=False)
def environment() -> str:
    """What it sees of the environment."""
    return "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))


@server.tool(structured_output=False)
def die(code: int) -> str:
    """Ends in the middle of a call."""
    sys.stderr.write("I cannot go on\n")
    sys.stderr.flush()
    os._exit(code)


@server.tool(structured_output=False)
async def sleep(seconds: float) -> str:
    """Answers late."""
    sleeps.append("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        sleeps[-1] = "given up"
        raise
    return "slept"


@server.tool(structured_output=False)
def fates() -> str:
    """What became of the calls of `sleep`."""
    return ", ".join(sleeps)


if __name__ == "__main__":
    kinds = {"http": "streamable-http", "sse": "sse"}
    if len(sys.argv) > 2:
        server.settings.port = int(sys.argv[2])
    server.run(kinds[sys.argv[1]] if len(sys.argv) > 1 else "stdio")  # type: ignore[arg-type]
