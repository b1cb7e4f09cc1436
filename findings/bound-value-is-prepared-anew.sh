#!/bin/bash
# One would guess: a prepared statement is planned once and run often; binding its values, instead of writing them into its
#   text, is what makes that possible, and costs nothing. Query builders bind every constant for that reason.
# What happens: where an index has a condition (`... WHERE waiting = 1`), a statement that compares that column with a bound
#   value (`waiting = ?`) is parsed and planned anew at every run, by sqlite3_step itself, also if the value is the same as
#   before. It takes several times as long as the search. Written into the text (`waiting = 1`) it is prepared once, and
#   an index on the column without a condition does no harm. SQLite's documentation names LIKE, GLOB and STAT4 as reasons
#   to prepare anew, not such an index. An ORM that binds a constant (SQLAlchemy does) pays this at each execution of the
#   statements for which the index was made; the statement cache of the driver cannot help.
# Seen: 200 runs with different ids: bound 200 preparations, bound to the same value 200, in the text 0, without the index's
#   condition 0.
# Version: SQLite 3.54.1, as apsw 3.54.1.0 brings it; counted by its authorizer, which is asked at each preparation.
# Source: sqlite3 expr.c exprCompareVariable: while the condition of an index is compared with a term of the statement, the
#   parameter is put into the statement's mask of variables; vdbeapi.c: a new binding of one in the mask marks it as expired.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q apsw==3.54.1.0
cat > "$work/seen.py" <<'PY'
import apsw

RUNS = 200
INDEXES = {
    "with a condition": "CREATE INDEX waiting_jobs ON job (id) WHERE waiting = 1",
    "without": "CREATE INDEX waiting_jobs ON job (waiting, id)",
}
BOUND, IN_THE_TEXT = "SELECT id FROM job WHERE waiting = ? AND id > ?", "SELECT id FROM job WHERE waiting = 1 AND id > ?"


def preparations(index, statement, values):
    """How often the statement was prepared in so many runs, after a first one."""
    db, made = apsw.Connection(":memory:"), []
    db.execute("CREATE TABLE job (id INTEGER PRIMARY KEY, waiting INTEGER)")
    db.execute(index)
    db.executemany("INSERT INTO job VALUES (?, ?)", [(n, n % 50 == 0) for n in range(1000)])

    def ask(operation, *what):
        made.append(operation == apsw.SQLITE_SELECT)
        return apsw.SQLITE_OK

    db.authorizer = ask
    list(db.execute(statement, values(0)))
    made.clear()
    for n in range(RUNS):
        list(db.execute(statement, values(n)))
    return sum(made)


seen = {
    "bound": preparations(INDEXES["with a condition"], BOUND, lambda n: (1, n)),
    "bound, always the same": preparations(INDEXES["with a condition"], BOUND, lambda n: (1, 7)),
    "in the text": preparations(INDEXES["with a condition"], IN_THE_TEXT, lambda n: (n,)),
    "bound, index without a condition": preparations(INDEXES["without"], BOUND, lambda n: (1, n)),
}
print("SQLite", apsw.sqlite_lib_version(), "- preparations in", RUNS, "runs:", seen)
raise SystemExit(0 if list(seen.values()) == [RUNS, RUNS, 0, 0] else "it behaves otherwise now")
PY
"$work/venv/bin/python" "$work/seen.py"
