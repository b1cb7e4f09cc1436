"""Downloads of files that a caller sent. A browser saves them and never shows them as a page of this server."""

import re
from urllib.parse import quote

from fastapi.responses import Response

MAX_NAME_CHARS = 150
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
}


def download(content: bytes, mime_type: str, name: str) -> Response:
    """`name` may be anything: characters that a header cannot hold are replaced in it."""
    last = re.split(r"[/\\]", name)[-1][:MAX_NAME_CHARS]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", last).strip(" .") or "attachment"
    given = f'attachment; filename="{plain}"'
    if plain != last:
        given += f"; filename*=UTF-8''{quote(last, safe='')}"
    headers = {"Content-Disposition": given, "Content-Type": mime_type or "application/octet-stream", **_HEADERS}
    return Response(content, headers=headers)
