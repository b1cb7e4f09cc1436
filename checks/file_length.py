"""No Python file of ours is longer than 400 lines, but for at most three that say why.

The exceptions stand in one place, `[tool.agent-runner.long-files]` of pyproject.toml: `"path" = "the reason"`.
Generated code and migrations are not looked at.
"""

import sys
import tomllib

from checks.tree import ROOT, files, shown

MOST_LINES = 400
MOST_EXCEPTIONS = 3
NOT_LOOKED_AT = ("src", "stubs", "status/store/migrations")


def exceptions() -> dict[str, str]:
    """Path: reason."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: dict[str, str] = project.get("tool", {}).get("agent-runner", {}).get("long-files", {})
    return found


def problems(allowed: dict[str, str]) -> list[str]:
    """One line per file that is too long, per exception that is not needed, and if there are too many of them."""
    lengths = {shown(path): len(path.read_text().splitlines()) for path in files(".py", without=NOT_LOOKED_AT)}
    long = {path: lines for path, lines in lengths.items() if lines > MOST_LINES}
    found = [f"{path} has {n} lines; {MOST_LINES} is the limit" for path, n in long.items() if path not in allowed]
    found += [f"{path} needs no exception in pyproject.toml any more" for path in allowed if path not in long]
    if len(allowed) > MOST_EXCEPTIONS:
        found.append(f"{len(allowed)} files are allowed to be long; {MOST_EXCEPTIONS} is the limit")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(exceptions())) or None)
