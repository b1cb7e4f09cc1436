"""Tokens that answer a question without a key. Only their digests are kept; they are deleted with their execution."""

from sqlalchemy import Column, ForeignKey, Index, String, Table

from agent_runner.status.store.tables.columns import Big, metadata, seconds_column, text_column, when_column

answer_tokens = Table(
    "answer_tokens",
    metadata,
    Column("digest", String, primary_key=True),
    Column(
        "handle",
        Big,
        ForeignKey("executions.handle", name="fk_answer_tokens_handle", ondelete="CASCADE"),
        nullable=False,
    ),
    *[text_column(n) for n in ("question_id", "made_by")],
    seconds_column("created_at"),
    seconds_column("expires_at"),
    when_column("used_at"),
    text_column("answered_by"),
)
"""`handle`: the execution that asked. `answered_by`: the id of the execution that brought the answer."""
Index("ix_answer_tokens_handle", answer_tokens.c.handle)
