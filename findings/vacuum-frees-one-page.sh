#!/bin/bash
# One would guess: `connection.execute("PRAGMA incremental_vacuum")` gives all free pages of a SQLite file back to the disk,
#   as it does in the sqlite3 shell, and at the latest `.fetchall()` makes it go on to its end.
# What happens: on Python 3.11 it frees one page. The statement ends after one step per page and has no columns; the module
#   makes one step of such a statement, resets it, and there is nothing to fetch. No error, no warning: `freelist_count`
#   is one less, so a test that looks whether it fell is content, and the file of a service grows to the most it ever held.
#   `executescript` makes all steps. Since Python 3.12 `execute` does, too.
# Version: CPython 3.11.7 (and 3.12.1, 3.13.0 for the difference), SQLite 3.40.1.
# Source: Modules/_sqlite/cursor.c _pysqlite_query_execute (3.11: one stmt_step, and stmt_reset where the statement has
#   no columns)
# Here: clients/engine/memory/sqlite/prune_sqlite.py give_back (`executescript`).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/seen.py" <<'PY'
import sqlite3
import sys

freed = {}
for how in ("execute", "executescript"):
    connection = sqlite3.connect(f"{sys.argv[1]}/{how}.db")
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("CREATE TABLE t(a)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 50_000,)] * 100)
    connection.commit()
    connection.execute("DELETE FROM t")
    connection.commit()
    before = connection.execute("PRAGMA freelist_count").fetchone()[0]
    getattr(connection, how)("PRAGMA incremental_vacuum").fetchall()
    after = connection.execute("PRAGMA freelist_count").fetchone()[0]
    freed[how] = before - after
    print(f"Python {sys.version.split()[0]}: {how:14} freed {before - after} of {before} pages")
old = sys.version_info < (3, 12)
raise SystemExit(0 if (freed["execute"] == 1) == old and freed["executescript"] > 1 else "the behaviour has changed")
PY
for python in python3.11 python3; do
  if command -v "$python" > /dev/null; then "$python" "$work/seen.py" "$work"; rm -f "$work"/*.db; fi
done
