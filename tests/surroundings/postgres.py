"""A Postgres cluster of a test's own, which may be stopped and started, and a PgBouncer in front of one."""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import free_port
from tests.support.waiting import eventually

_PLACES = [Path(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def program(name: str) -> str:
    """Its path; skips the test where it is not installed."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", *map(str, _PLACES)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def own_user() -> dict[str, str]:
    """Neither program runs as root: then they run as `postgres`, or the test is skipped."""
    if os.getuid():
        return {}
    with contextlib.suppress(KeyError):
        import pwd

        pwd.getpwnam("postgres")
        return {"user": "postgres", "group": "postgres"}
    pytest.skip("this is root, Postgres refuses that, and there is no user postgres")
    raise AssertionError


@functools.cache
def new_data() -> Path:
    """The files of a cluster that nobody has used yet: `initdb` takes most of the time of a start. Once per process."""
    initdb, user = program("initdb"), own_user()
    folder = Path(tempfile.mkdtemp(prefix="ar-initdb-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if user:
        shutil.chown(folder, **user)
    argv = [initdb, "-D", str(folder / "data"), "-U", "runner", "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run(argv, check=True, capture_output=True, cwd=folder, **user)  # type: ignore[call-overload]
    return folder / "data"


class Cluster:
    def __init__(self, folder: Path) -> None:
        # A socket's path is limited, and another user must reach it: not below a test's own folder.
        self.folder, self.port = folder, free_port()
        self._postgres, self._as = program("postgres"), own_user()
        self._log = folder / "postgres.log"
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://runner@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> "Cluster":
        self.folder.mkdir()
        if self._as:
            shutil.chown(self.folder, **self._as)
        subprocess.run(["cp", "-a", new_data(), self.folder / "data"], check=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        argv = [self._postgres, "-D", str(self.folder / "data"), "-p", str(self.port), "-k", "", "-F"]
        argv += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60"]
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.folder, **self._as)  # type: ignore[call-overload]
        eventually(self.answers, what=f"Postgres; {self._log}")

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error):
            psycopg.connect(self.url, connect_timeout=1).close()
            return True
        return False

    def stop(self) -> None:
        """At once, and every connection with it."""
        if self._popen is not None:
            self._popen.send_signal(signal.SIGINT)
            try:
                self._popen.wait(20)
            except subprocess.TimeoutExpired:
                self._popen.send_signal(signal.SIGQUIT)
                self._popen.wait(20)
            self._popen = None

    def away(self, seconds: float) -> None:
        self.stop()
        time.sleep(seconds)
        self.start()


@contextlib.contextmanager
def pgbouncer(folder: Path, cluster: Cluster) -> Iterator[str]:
    """The URL of a PgBouncer in transaction mode, with fewer connections than its clients have."""
    bouncer, user, port = program("pgbouncer"), own_user(), free_port()
    folder.mkdir()
    (folder / "users").write_text('"runner" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={cluster.port} dbname=postgres user=runner\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200\n"
    )
    if user:
        shutil.chown(folder, **user)
    with (folder / "log").open("wb") as log:
        popen = subprocess.Popen([bouncer, str(folder / "pgbouncer.ini")], stdout=log, stderr=log, **user)  # type: ignore[call-overload]
    url = f"postgresql://runner@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        with contextlib.suppress(psycopg.Error):
            psycopg.connect(url, connect_timeout=1).close()
            return True
        return False

    try:
        eventually(answers, what="pgbouncer")
        yield url
    finally:
        popen.terminate()
        popen.wait(10)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ar-pg-") as folder:
        os.chmod(folder, 0o755)
        with Cluster(Path(folder) / "cluster") as running:
            yield running
