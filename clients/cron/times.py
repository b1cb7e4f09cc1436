"""The times of a schedule: a cron expression in a time zone, or a list of times.

`cronsim` computes them. It follows Debian's cron where the clocks change: a job for a fixed hour (`30 2 * * *`) that
falls into the hour that is left out runs right after it, and one in the hour that comes twice runs once. A job that
repeats within the hour (`*/15 * * * *`, `0 * * * *`) goes by real time.

Seconds and years are no fields here: an expression has five, or is one of the names that begin with `@`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MOST_CHARACTERS = 200
LAST = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
"""Later times have no name in every zone."""
FORM = (
    "it has five fields (minute, hour, day of month, month, day of week), like '*/5 * * * *' for every five minutes,"
    f" or is one of {', '.join(ALIASES)}"
)


class BadTimes(ValueError):
    """The expression, the zone or a time cannot be read; the text is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTimes:
    """`fields`: five, as `cron_times` checked them."""

    fields: str
    zone: ZoneInfo

    def after(self, at: float) -> float | None:
        """The first time later than `at`, both in seconds since 1970; None if there is none in fifty years."""
        try:
            for found in CronSim(self.fields, datetime.fromtimestamp(at, self.zone)):
                # In the hour that comes twice, the search begins in the first of both and may find what is past.
                if (seconds := found.timestamp()) > at:
                    return seconds
        except (OverflowError, ValueError):  # beyond the years that a date may have
            return None
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTimes:
    """`times` in seconds since 1970, rising."""

    times: Sequence[float]

    def after(self, at: float) -> float | None:
        place = bisect_right(self.times, at)
        return self.times[place] if place < len(self.times) else None


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; UTC for none. Raises `BadTimes`."""
    if name and name not in _zones():
        raise BadTimes(f"Invalid timezone {name[:80]!r}: it is no IANA name, like 'Europe/Berlin'")
    return ZoneInfo(name or "UTC")


def cron_times(expression: str, zone: str) -> CronTimes:
    """Raises `BadTimes` for what cannot be read, or is never due."""
    fields = ALIASES.get(expression.strip().lower(), expression)
    try:
        if len(expression) > MOST_CHARACTERS or len(fields.split()) != 5:
            raise CronSimError("Wrong number of fields")
        CronSim(fields, datetime.now(UTC))
    except (CronSimError, AssertionError, TypeError, ValueError) as error:
        reason = str(error) or "a step needs a number to begin at"
        raise BadTimes(f"Invalid cron schedule {expression[:80]!r}: {reason}; {FORM}") from None
    found = CronTimes(fields=fields, zone=zone_of(zone))
    if found.after(datetime.now(UTC).timestamp()) is None:
        raise BadTimes(f"Invalid cron schedule {expression[:80]!r}: it is never due")
    return found


def moment(text: str, zone: str) -> float:
    """The seconds since 1970 of an ISO 8601 time; without an offset it is a time of the zone's clocks. A time that the
    clocks leave out is the one that their old offset gives; of two it is the first. Raises `BadTimes`."""
    clocks = zone_of(zone)
    try:
        read = datetime.fromisoformat(text)
        found = round((read if read.tzinfo else read.replace(tzinfo=clocks)).timestamp(), 3)
    except (ValueError, OverflowError):
        found = -1.0
    if not 0 <= found < LAST:
        raise BadTimes(f"{text[:80]!r} is not a time; write it like 2027-01-31T09:00:00+01:00")
    return found


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
