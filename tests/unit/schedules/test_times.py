"""When cron expressions and times are due: by the clocks of their zone, each time once, where the clocks change too."""

from datetime import UTC, datetime

import pytest

from agent_runner.clients.cron.times import ALIASES, BadTimes, ListedTimes, cron_times, moment

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def due(expression: str, zone: str, after: str, count: int) -> list[str]:
    """The next times in UTC."""
    times, now = cron_times(expression, zone), at(after)
    found = []
    for _ in range(count):
        following = times.after(now)
        assert following is not None
        assert following > now
        now = following
        found.append(datetime.fromtimestamp(now, UTC).strftime("%m-%dT%H:%M"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        # 2027-03-28, 02:00 to 03:00 is left out: what is due in it runs right after it.
        ("30 2 * * *", "2027-03-27T12:00Z", ["03-28T01:00", "03-29T00:30"]),
        ("0,30 2 * * *", "2027-03-27T12:00Z", ["03-28T01:00", "03-29T00:00"]),
        ("0 3 * * *", "2027-03-27T12:00Z", ["03-28T01:00", "03-29T01:00"]),
        # What repeats within the hour goes by real time.
        ("0 * * * *", "2027-03-28T00:30Z", ["03-28T01:00", "03-28T02:00"]),
        ("*/30 * * * *", "2027-03-28T00:30Z", ["03-28T01:00", "03-28T01:30"]),
        # 2027-10-31, 02:00 to 03:00 comes twice: a fixed hour runs once, in the first.
        ("30 2 * * *", "2027-10-30T12:00Z", ["10-31T00:30", "11-01T01:30"]),
        ("15,45 2 * * *", "2027-10-30T12:00Z", ["10-31T00:15", "10-31T00:45", "11-01T01:15"]),
        ("0 * * * *", "2027-10-30T23:30Z", ["10-31T00:00", "10-31T01:00", "10-31T02:00"]),
    ],
)
def test_the_clocks_change_in_berlin(expression: str, after: str, expected: list[str]) -> None:
    """As Debian's cron: nothing that has a fixed hour is lost or runs twice."""
    assert due(expression, BERLIN, after, len(expected)) == expected


def test_a_search_that_begins_in_the_second_of_two_hours_finds_no_past() -> None:
    """02:30 has come twice; 02:45 of the first hour is over, and the next is tomorrow's."""
    second = "2027-10-31T01:30Z"
    assert due("45 2 * * *", BERLIN, second, 1) == ["11-01T01:45"]


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE, "Asia/Kathmandu", "UTC", ""])
@pytest.mark.parametrize("expression", ["30 2 * * *", "59 1,2 * * *", "*/7 * * * *", "0 0 1 * *", "5 4 * * sun"])
def test_times_rise_through_a_year(zone: str, expression: str) -> None:
    """Each is later than the one before, and starting from between two finds the second."""
    times, now = cron_times(expression, zone), at("2027-01-01T00:00Z")
    for _ in range(400):
        following = times.after(now)
        assert following is not None
        assert following > now
        assert times.after((now + following) / 2) == following
        now = following


def test_a_fixed_hour_runs_once_on_each_day_of_a_year() -> None:
    """Also in the zone whose clocks move by half an hour."""
    for zone in (BERLIN, NEW_YORK, LORD_HOWE):
        times, now = cron_times("45 1 * * *", zone), at("2027-01-02T00:00Z")
        for _ in range(365):
            before, now = now, times.after(now) or 0.0
        assert now - before > 0
        assert abs(now - at("2027-01-02T00:00Z") - 365 * 86_400) < 86_400


@pytest.mark.parametrize(
    "expression",
    ["", "nope", "* * * *", "* * * * * *", "60 * * * *", "* * 31 2 *", "0 0 30 2 *", "*/0 * * * *", "@reboot",
     "LW/2 * * * *", "1-0 * * * *", "* " * 200, "0 0 L * ?", "* * * * 8"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_words(expression: str) -> None:
    """With an example of what can."""
    with pytest.raises(BadTimes, match="cron"):
        cron_times(expression, "")


def test_names_stand_for_expressions() -> None:
    """In any case of letters."""
    for name, fields in ALIASES.items():
        assert cron_times(name.upper(), BERLIN).fields == fields


@pytest.mark.parametrize("zone", ["Mars/One", "../../etc/passwd", "CEST", "europe", "\0", "localtime/x"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """Nothing outside the list of zones is opened."""
    with pytest.raises(BadTimes, match="Invalid timezone"):
        cron_times("@daily", zone)


def test_a_moment_without_an_offset_is_by_the_clocks_of_the_zone() -> None:
    """One that is left out is read by the old offset; of two it is the first."""
    assert moment("2027-07-01T09:00", BERLIN) == at("2027-07-01T07:00Z")
    assert moment("2027-07-01T09:00", "") == at("2027-07-01T09:00Z")
    assert moment("2027-07-01T09:00+05:00", BERLIN) == at("2027-07-01T04:00Z")
    assert moment("2027-03-28T02:30", BERLIN) == at("2027-03-28T01:30Z")
    assert moment("2027-10-31T02:30", BERLIN) == at("2027-10-31T00:30Z")
    for wrong in ("tomorrow", "", "2027-13-01", "1e9", "0001-01-01", "9999-12-31T23:59-23:59"):
        with pytest.raises(BadTimes, match="is not a time"):
            moment(wrong, "")


def test_listed_times_come_one_after_the_other() -> None:
    """And then none."""
    times = ListedTimes(times=(1.0, 2.0, 5.0))
    assert [times.after(0.0), times.after(1.0), times.after(4.9), times.after(5.0)] == [1.0, 2.0, 5.0, None]
