"""The kinds of columns that tables are made of, and the one collection that knows all tables."""

from sqlalchemy import BigInteger, Column, Double, Integer, MetaData, String, text

from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.store.clock import FOREVER

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(column_0_N_label)s",
    }
)

Big = BigInteger().with_variant(Integer, "sqlite")
OPEN = text(f"phase < {min(TERMINAL_PHASES)}")
"""True for rows that have not ended: the condition of the partial indexes."""


def text_column(column: str, default: str = "") -> Column[str]:
    return Column(column, String, nullable=False, server_default=default)


def count_column(column: str) -> Column[int]:
    return Column(column, Big, nullable=False, server_default="0")


def seconds_column(column: str) -> Column[float]:
    return Column(column, Double, nullable=False)


def due_column(column: str) -> Column[float]:
    return Column(column, Double, nullable=False, server_default=text(f"{FOREVER:.0f}"))


def when_column(column: str) -> Column[float | None]:
    return Column(column, Double, nullable=True)
