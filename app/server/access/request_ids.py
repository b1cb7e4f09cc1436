"""The id of a request. It stands in each log line that the request caused."""

import re
import uuid

REQUEST_ID = "x-request-id"
"""The header over HTTP, the key of the metadata over gRPC."""
_TAKEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id(given: object) -> str:
    """The caller's id if it has a valid form, else a new one."""
    return given if isinstance(given, str) and _TAKEN.fullmatch(given) else uuid.uuid4().hex
