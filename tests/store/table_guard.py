"""The state machine as triggers of the test's database: a statement that leaves the table fails, however it is made.

They are generated from `TRANSITIONS` and know nothing of our statements: raw SQL, an update by the ORM's means, an
insert of a row that begins in the middle are all refused. Every test of the store runs under them.
"""

from sqlalchemy import create_engine

from agent_runner.status.phases import TRANSITIONS, Phase, Step, Transition
from agent_runner.status.store.connection import driver_url

REFUSED = "leaves the table of transitions"
BORN = (Step.WAITING, Step.ENSURE_THREAD)


def taken(edge: Transition) -> str:
    """SQL: the change from OLD to NEW is this edge."""
    phases = f"NEW.phase in ({', '.join(str(int(phase)) for phase in sorted(edge.phases))})"
    if edge.may_stay:
        phases = f"({phases} or NEW.phase = OLD.phase)"
    fence = "NEW.fence = OLD.fence + 1" if edge.raises_fence else "NEW.fence = OLD.fence"
    return f"(OLD.step in ({names(*edge.sources)}) and NEW.step = '{edge.step.value}' and {phases} and {fence})"


def names(*steps: Step) -> str:
    return ", ".join(f"'{step.value}'" for step in steps)


STAYS = "(NEW.step = OLD.step and NEW.phase = OLD.phase and NEW.fence = OLD.fence)"
MAY_CHANGE = " or ".join([STAYS, *map(taken, TRANSITIONS.values())])
MAY_BEGIN = f"NEW.step in ({names(*BORN)}) and NEW.phase = {int(Phase.PENDING)} and NEW.fence = 0"
EVENTS = {"update": MAY_CHANGE, "insert": MAY_BEGIN}
SQLITE = """create trigger leaves_by_{event} before {event} on executions when not ({allowed})
begin select raise(abort, '{refused}'); end"""
POSTGRES = """create function leaves_by_{event}() returns trigger language plpgsql as $$
begin if not ({allowed}) then raise exception '{refused}'; end if; return NEW; end $$;
create trigger leaves_by_{event} before {event} on executions for each row execute function leaves_by_{event}()"""


def guard(url: str) -> None:
    """From now on this database refuses what the table does not have. Its schema is there already."""
    is_sqlite = url.startswith("sqlite")
    engine = create_engine(url if is_sqlite else driver_url(url))
    with engine.begin() as connection:
        for event, allowed in EVENTS.items():
            text = SQLITE if is_sqlite else POSTGRES
            connection.exec_driver_sql(text.format(event=event, allowed=allowed, refused=REFUSED))
    engine.dispose()
