"""Each program can be imported: what is refused when a class is made (a verb of the store that does not say that it is
one) shows here, and not at its next start."""

import importlib
import sys

PROGRAMS = ("agent_runner.app.cli.main", "agent_runner.app.server.composition", "agent_runner.tasks.worker.serve")


def main() -> int:
    for name in PROGRAMS:
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"{name} cannot be imported: {type(error).__name__}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
