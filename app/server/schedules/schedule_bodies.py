"""The bodies of requests about schedules, and the rules in them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.problems import invalid
from agent_runner.clients.cron.times import BadTimes, CronTimes, ListedTimes, cron_times, moment, zone_of
from agent_runner.status.schedules.schedule import CatchUp, Overlap, Rules

Json = dict[str, Any]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Expression = Annotated[Text, Field(min_length=1, pattern=r"^[^\x00-\x1f]*[^\x00-\x1f\s][^\x00-\x1f]*$")]
"""Of cron, where one must be given."""
_SINCE_1970 = {"format": "date-time", "pattern": "^(19[7-9][0-9]|[2-9][0-9]{3})-"}
Moment = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f]*$", json_schema_extra=_SINCE_1970)]
_MOMENT_OR_NONE = {"anyOf": [{"type": "string", "maxLength": 64, **_SINCE_1970}, {"const": ""}]}
End = Annotated[Moment, WithJsonSchema(_MOMENT_OR_NONE)]
"""Empty: none."""
MOST_TIMES, MOST_GRACE_S = 100, 7 * 86_400.0


class TimesBody(BaseModel):
    """Either `cron` or `at`."""

    model_config = ConfigDict(extra="forbid")

    cron: Text | None = None
    """Five fields, or `@daily` and the like."""
    at: Annotated[list[Moment], Field(max_length=MOST_TIMES)] | None = None
    """Times; one without an offset is by the clocks of the time zone."""
    timezone: Text | None = None
    """An IANA name, like Europe/Berlin. UTC without one."""
    end_time: End | None = None
    """No time after this one fires. Empty or null: it does not end by the clock."""
    max_firings: Annotated[int, Field(ge=0, le=1_000_000_000), WHOLE] | None = None
    """0 or null: any number."""


class SchedulePatch(TimesBody):
    """What is left out stays as it is."""

    name: Text | None = None
    execution: Json | None = None
    """The execution to make, as the short form of `POST /v1/executions`, without `org`, `session_id`, `answers`."""
    session_id: Text | None = None
    overlap: Literal["fresh", "enqueue", "reject", "interrupt", "rollback"] | None = None
    catch_up: Literal["skip", "once", "all"] | None = None
    catch_up_limit: Annotated[int, Field(ge=1, le=100), WHOLE] | None = None
    grace_s: float | None = Field(default=None, ge=0, le=MOST_GRACE_S, allow_inf_nan=False)
    paused: bool | None = None


class NewSchedule(SchedulePatch):
    """An empty `org` means the caller's."""

    name: Annotated[Text, Field(min_length=1)]
    execution: Json
    org: Text = ""


class Preview(TimesBody):
    count: Annotated[int, Field(ge=1, le=100), WHOLE] = 10


def times_of(rules: Rules) -> CronTimes | ListedTimes:
    """Raises `BadTimes`."""
    return cron_times(rules.cron, rules.timezone) if rules.cron else ListedTimes(times=rules.at)


def rules_of(sent: TimesBody, before: Rules) -> Rules:
    """`before` with what was sent. Raises INVALID_ARGUMENT."""
    given = {name: getattr(sent, name) for name in sent.model_fields_set}
    try:
        return _rules(given, before)
    except BadTimes as error:
        raise invalid(str(error)) from None


def _rules(given: Json, before: Rules) -> Rules:
    if given.get("cron") and given.get("at"):
        raise invalid("cron and at: a schedule has one of the two")
    zone = given["timezone"] or "" if "timezone" in given else before.timezone
    zone_of(zone)
    cron, at = before.cron, before.at
    if given.get("at"):
        cron, at = "", tuple(sorted({moment(one, zone) for one in given["at"]}))
    elif given.get("cron"):
        cron, at = given["cron"].strip(), ()
    if not (cron or at):
        raise invalid("cron or at: a schedule needs one of the two", next_step='Send "cron": "0 9 * * 1-5", or "at".')
    end_at = before.end_at
    if "end_time" in given:
        end_at = moment(given["end_time"], zone) if given["end_time"] else None
    rules = Rules(
        cron=cron,
        at=at,
        timezone=zone,
        end_at=end_at,
        max_firings=(given["max_firings"] or 0) if "max_firings" in given else before.max_firings,
        catch_up=CatchUp(given.get("catch_up") or before.catch_up),
        catch_up_limit=given.get("catch_up_limit") or before.catch_up_limit,
        grace_s=before.grace_s if given.get("grace_s") is None else given["grace_s"],
        overlap=Overlap(given.get("overlap") or before.overlap),
    )
    times_of(rules)
    return rules
