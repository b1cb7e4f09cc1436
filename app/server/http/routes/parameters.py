"""Parameters that several routes take, with what each may be."""

from typing import Annotated, Literal

from fastapi import Header, Query
from pydantic import Field

from agent_runner.app.server.contract.tags import MAX_LENGTH, MAX_TAGS
from agent_runner.app.server.contract.texts import MAX_INDEXED
from agent_runner.status.store.paging import MAX_PAGE

Tags = Annotated[
    list[Annotated[str, Field(max_length=MAX_LENGTH)]],
    Query(
        default_factory=list,
        alias="tag",
        max_length=MAX_TAGS,
        description="what has this tag; given several times: what has all of them",
    ),
]
PageSize = Annotated[int, Query(ge=0, description=f"0: 50; more than {MAX_PAGE} are answered as {MAX_PAGE}")]
PageToken = Annotated[str, Query(description="`next_page_token` of the page before")]
Viewed = Annotated[
    Literal["", "brief", "full"],
    Query(
        description="`full`: entries as their own addresses show them; without it, or `brief`: names and short fields,"
        " texts cut after 200 characters"
    ),
]
Waiting = Annotated[
    str,
    Query(
        description="`true`: only what waits for a person; `false`: only what does not",
        json_schema_extra={"enum": ["", "true", "false"]},
    ),
]
Wait = Annotated[
    float,
    Query(
        ge=0,
        allow_inf_nan=False,
        description="seconds: answer when it ends, at the latest after this, or after an hour",
    ),
]
IdempotencyKey = Annotated[
    str, Header(max_length=MAX_INDEXED, description="the same key again gives the same execution")
]
Position = Annotated[
    str, Header(alias="Last-Event-ID", description="the last `seq` that was seen; what follows it is sent, no snapshot")
]
Begin = Annotated[
    str, Query(alias="last_event_id", description="as Last-Event-ID, which wins: a browser sends no header at first")
]
TicketText = Annotated[
    str, Query(description="in place of a key: a ticket of `POST /v1/executions/{execution_id}/stream-ticket`")
]
