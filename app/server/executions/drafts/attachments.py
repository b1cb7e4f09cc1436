"""Attachments of executions (pictures and files): their limit, how one is read, and how a worker gets them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.create_limits import SETTING
from agent_runner.app.server.problems import Kind, Problem, not_found
from agent_runner.status.attachments import MARK, Attachment, AttachmentGone, blocks_of, restored
from agent_runner.status.store.rows import dumps
from agent_runner.v1 import runner_pb2 as pb

TOO_LARGE_NEXT = (
    "Send smaller pictures, or an address (`url`) in place of the data; large files belong into the workspace."
)


def check_weight(attachments: Sequence[Attachment], max_bytes: int) -> None:
    """Raises TOO_LARGE."""
    if (size := sum(one.size for one in attachments)) > max_bytes:
        raise Problem(
            Kind.TOO_LARGE,
            f"the attachments have {size} bytes; at most {max_bytes} are accepted ({SETTING})",
            next_step=TOO_LARGE_NEXT,
        )


def words_beside(attachments: Sequence[Attachment]) -> int:
    """The bytes of the other texts in their blocks: names, addresses, titles."""
    return sum(len(json.dumps(one.block)) + len(one.name) + len(one.url) for one in attachments)


async def attachment(ctx: ServerContext, execution_id: str, attachment_id: str) -> Attachment:
    """The attachment with its bytes. The execution must be known to be the caller's. Raises NOT_FOUND."""
    found = await ctx.store.attachment(execution_id, attachment_id)
    if found is None:
        raise not_found(f"AgentExecution '{execution_id}': attachment", attachment_id)
    if found.content is None:
        where = f"it is at {found.url}" if found.url else "the model's provider has it, under a file id"
        raise Problem(
            Kind.NOT_FOUND,
            f"attachment '{attachment_id}' of AgentExecution '{execution_id}' is not kept here: {where}",
            next_step="Fetch it from there.",
        )
    return found


async def give_attachments(
    ctx: ServerContext, execution_id: str, layout: Sequence[Mapping[str, Any]], reply: pb.ClaimReply, *, apart: bool
) -> None:
    """Puts the attachments into the answer to a claim: with `apart`, beside `message` and `input_json`.

    A worker of an earlier version (`apart` is false) gets message and attachments as an input with content blocks.
    """
    if not layout and MARK not in reply.input_json and MARK not in reply.answers_json:
        return
    kept = await ctx.store.attachments(execution_id)
    if apart:
        reply.layout_json = dumps(list(layout)) if layout else ""
        reply.attachments.extend(
            pb.Attachment(
                id=one.id,
                described_json=dumps(one.described()),
                content=one.content or b"",
                kept=one.content is not None,
            )
            for one in kept
        )
        return
    try:
        _put_back(layout, kept, reply)
    except AttachmentGone as error:
        reply.bundle_error = str(error)


def _put_back(layout: Sequence[Mapping[str, Any]], kept: Sequence[Attachment], reply: pb.ClaimReply) -> None:
    if reply.answers_json:
        reply.answers_json = dumps(restored(json.loads(reply.answers_json), kept))
    given = restored(json.loads(reply.input_json), kept) if reply.input_json else {}
    if layout and isinstance(given, dict):
        held = given.get("messages") or []
        said = {"role": "user", "content": blocks_of(reply.message, layout, kept)}
        given = {**given, "messages": [*(held if isinstance(held, list) else [held]), said]}
        reply.message = ""
    if given or reply.input_json:
        reply.input_json = dumps(given)
