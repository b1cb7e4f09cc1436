"""The input of a turn, from its claim: text, JSON, and the pictures and files that belong to them."""

import json

from agent_runner.clients.engine.turn import Given
from agent_runner.status.attachments import AttachmentGone, attachment_of, blocks_of, restored
from agent_runner.tasks.run.outcome import SetupError
from agent_runner.v1 import runner_pb2 as pb


def given_of(told: pb.ClaimReply) -> Given:
    """The input of the turn. Raises SetupError."""
    kept = [
        attachment_of(one.id, json.loads(one.described_json), one.content if one.kept else None)
        for one in told.attachments
    ]
    try:
        blocks = blocks_of(told.message, json.loads(told.layout_json), kept) if told.layout_json else []
        input_json, answers_json = (
            json.dumps(restored(json.loads(sent), kept), ensure_ascii=False) if kept and sent else sent
            for sent in (told.input_json, told.answers_json)
        )
    except AttachmentGone as error:
        raise SetupError(str(error)) from None
    return Given(
        message=told.message,
        blocks=blocks,
        input_json=input_json,
        answers_json=answers_json,
        waiting=told.waiting,
    )
