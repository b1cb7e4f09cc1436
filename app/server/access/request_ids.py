"""The id of one request, by which the lines that it caused are found in the log."""

import re
import uuid

REQUEST_ID = "x-request-id"
"""The header over HTTP, the key of the metadata over gRPC."""
_TAKEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id(given: object) -> str:
    """The caller's own where it has the form of one, else a new one."""
    return given if isinstance(given, str) and _TAKEN.fullmatch(given) else uuid.uuid4().hex
