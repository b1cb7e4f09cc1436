"""The key that a data directory's secrets are sealed with is made once, whoever starts at the same time."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from agent_runner.app.dev.stack import kept_secret_key

AT_ONCE = 8


def test_all_who_start_at_once_have_the_same_key(tmp_path: Path) -> None:
    """None of them reads a file that another one has not finished, and nothing else is left in the directory."""
    together = Barrier(AT_ONCE)

    def start(folder: Path) -> str:
        together.wait()
        return kept_secret_key(folder)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number in range(40):
            folder = tmp_path / str(number)
            folder.mkdir()
            keys = set(threads.map(start, [folder] * AT_ONCE))
            assert len(keys) == 1
            assert len(keys.pop()) > 30
            assert [path.name for path in folder.iterdir()] == ["secret.key"]
            assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
