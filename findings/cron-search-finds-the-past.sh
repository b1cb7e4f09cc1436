#!/bin/bash
# One would guess: the next time of a cron expression after a given moment is later than that moment.
# What happens: on the day in autumn on which an hour comes twice, a search that begins in the second of both hours finds a
#   time in the first one, which is past. A scheduler that stores "the next time" and fires what is due fires it at once, and
#   again and again until the hour is over. cronsim follows Debian's cron, which runs a job at a fixed hour in the first hour
#   only; to do so it drops the zone of the moment it begins at, and with it which of both hours that was.
# Version: cronsim 2.8; Python's zoneinfo. croniter 7.0.0 answers with the second hour, where it runs the job again.
# Source: cronsim/cronsim.py CronSim.__init__ (`self.dt = self.dt.replace(tzinfo=None)`) and __next__ (`fold=0`).
# Here: clients/cron/times.py goes on until the time is later.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q cronsim==2.8 croniter==7.0.0 tzdata
cat > "$work/seen.py" <<'PY'
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

begin = datetime(2027, 10, 31, 1, 30, tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin"))  # 02:30 for the second time
found = next(CronSim("45 2 * * *", begin))
other = croniter("45 2 * * *", begin).get_next(datetime)
for name, time in (("begin", begin), ("cronsim", found), ("croniter", other)):
    print(f"{name:9}{time.isoformat()} = {time.astimezone(UTC).isoformat()}")
raise SystemExit(0 if found.timestamp() < begin.timestamp() < other.timestamp() else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
