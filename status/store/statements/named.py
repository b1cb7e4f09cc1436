"""Resources by their ids and by their names."""

from sqlalchemy import ClauseElement, select

from agent_runner.status.store.driver.ready import ready, text_of
from agent_runner.status.store.schema import resources

R = resources.c


@ready
def resource_by_id() -> ClauseElement:
    return select(resources).where(R.kind == text_of("its_kind"), R.id == text_of("its_id"))


@ready
def resource_by_slug() -> ClauseElement:
    named = (R.kind == text_of("its_kind"), R.org == text_of("its_org"), R.slug == text_of("its_slug"))
    return select(resources).where(*named)
