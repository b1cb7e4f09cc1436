"""The attachments of executions. They are written with the execution, and removed with it or with the text of the
message that they came with."""

import json
from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from agent_runner.status.attachments import Attachment, attachment_of
from agent_runner.status.store.connection import Transactions
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.schema import execution_attachments, executions
from agent_runner.status.store.verbs import Orgs, reads

A = execution_attachments.c


class Attachments(Transactions):
    @reads(orgs=Orgs.EXECUTION)
    def attachments(self, connection: Connection, id: str) -> list[Attachment]:
        """The attachments of an execution with their bytes, in the order in which they were sent."""
        query = select(A.id, A.described, A.content).join(executions, executions.c.handle == A.handle)
        rows = connection.execute(query.where(executions.c.id == id).order_by(A.number))
        return [_attachment(row.id, row.described, row.content) for row in rows]

    @reads(orgs=Orgs.EXECUTION)
    def attachment(self, connection: Connection, id: str, attachment_id: str) -> Attachment | None:
        query = select(A.id, A.described, A.content).join(executions, executions.c.handle == A.handle)
        row = connection.execute(query.where(executions.c.id == id, A.id == attachment_id)).one_or_none()
        return _attachment(row.id, row.described, row.content) if row else None


def put_attachments(connection: Connection, handle: int, attachments: Sequence[Attachment]) -> None:
    rows = [
        {
            "handle": handle,
            "id": one.id,
            "number": number,
            "size": one.size,
            "described": json.dumps(one.described(), ensure_ascii=True),
            "content": one.content,
        }
        for number, one in enumerate(attachments, 1)
    ]
    if rows:
        connection.execute(insert(execution_attachments), rows)


def drop_attachments(connection: Connection, handle: int, ids: Sequence[str]) -> None:
    if ids:
        connection.execute(delete(execution_attachments).where(A.handle == handle, A.id.in_(ids)))


def _attachment(id_: str, described: str, content: bytes | None) -> Attachment:
    return attachment_of(id_, json.loads(described), None if content is None else bytes(content))
