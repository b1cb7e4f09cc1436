"""Sessions whose commands have no walls: each has a user of its own, where the worker is root."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent_runner.clients.process.private_files import keep_private
from agent_runner.clients.sandbox.files import SandboxFiles
from agent_runner.clients.sandbox.isolation import NotIsolated, check_isolation, isolation_of
from agent_runner.clients.sandbox.kinds.offered import sandbox_said
from agent_runner.clients.sandbox.local import LocalSandbox, SandboxError
from agent_runner.clients.sandbox.own_user import LOCK, OwnUsers
from agent_runner.clients.settings.settings import Settings
from tests.unit.sandbox.conftest import own_users, own_walls


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory to which every user of this machine gets as far as its own mode lets him."""
    own_users()
    before = os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="own-user-") as folder:
        Path(folder).chmod(0o711)
        made = Path(folder, "data")
        made.mkdir()
        yield made
    os.umask(before)


def box_of(data: Path, name: str, users: OwnUsers | None = None) -> LocalSandbox:
    return LocalSandbox(data / "sandboxes" / name, users=users or own_users()).open()


async def test_who_runs_a_command(data: Path) -> None:
    """One user and his group, no other group, no capability now or later, and the same in the next turn."""
    box = box_of(data, "ses-1")
    asked = (
        "id -u; id -g; id -G; grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status | cut -f2; stat -c %u . .."
    )
    said = (await box.execute(asked)).output.split()
    await box.close()
    zero = "0" * 16
    assert said == [str(box.user)] * 3 + [zero, zero, zero, "1"] + [str(box.user)] * 2
    assert own_users().first <= box.user <= own_users().last
    again = box_of(data, "ses-1")
    assert again.user == box.user
    await again.close()


async def test_no_two_sessions_share_one(data: Path) -> None:
    """Also where their names ask for the same one; with the last one taken the next session is refused."""
    few = OwnUsers(first=1_900_000_000, last=1_900_000_004)
    users = {box_of(data, f"ses-{number}", few).user for number in range(5)}
    assert users == set(range(few.first, few.last + 1))
    with pytest.raises(SandboxError, match="AGENT_RUNNER_SANDBOX_USERS"):
        box_of(data, "one-more", few)


async def test_files_of_both_sides(data: Path) -> None:
    """What the file tools make a command can change, and the other way round; nothing of it is open to others."""
    box = box_of(data, "ses-1")
    files = SandboxFiles(box)
    assert files.write("/deep/er/note", "one\n").error is None
    result = await box.execute("echo two >> deep/er/note && mkdir made && echo three > made/file && cat deep/er/note")
    assert result.output == "one\ntwo\n"
    assert files.write("/made/other", "x").error is None
    assert (
        await box.execute("rm made/other && rm -r deep && echo $HOME && cd && pwd && touch $TMPDIR/t")
    ).exit_code == 0
    large = await box.execute("head -c 900000 /dev/zero | tr '\\0' x")
    assert large.truncated
    assert (await box.execute("rm -r .agent-runner")).exit_code == 0
    await box.close()
    assert (data / "sandboxes" / "ses-1").stat().st_mode & 0o777 == 0o700
    box.remove()
    assert not box.root_dir.exists()


async def test_a_directory_of_before(data: Path) -> None:
    """What the worker's own user made there becomes the session's, and is the worker's again behind walls."""
    before = LocalSandbox(data / "sandboxes" / "ses-1").open()
    await before.execute("mkdir -m 700 kept && echo kept > kept/note && ln -s /etc/passwd kept/way")
    await before.close()
    own = box_of(data, "ses-1")
    assert (await own.execute("cat kept/note && echo more >> kept/note")).output == "kept\n"
    await own.close()
    assert os.stat("/etc/passwd").st_uid == 0
    walled = LocalSandbox(data / "sandboxes" / "ses-1", walls=own_walls()).open()
    assert (await walled.execute("cat kept/note && echo most >> kept/note")).exit_code == 0
    await walled.close()
    assert walled.root_dir.stat().st_uid == 0


def test_the_way_there(data: Path) -> None:
    """Others get through the data directory and see nothing of it, also after the next start; a directory that is not
    ours is left as it is, and named."""
    box_of(data, "ses-1")
    keep_private(data)
    assert [path.stat().st_mode & 0o777 for path in (data, data / "sandboxes")] == [0o701, 0o701]
    (data / "sandboxes" / LOCK).unlink()
    keep_private(data)
    assert data.stat().st_mode & 0o777 == 0o700
    data.parent.chmod(0o700)
    with pytest.raises(SandboxError, match=f"{data.parent} lets no other user through"):
        box_of(data, "ses-2")
    assert data.parent.stat().st_mode & 0o777 == 0o700


def test_where_there_are_no_walls(data: Path) -> None:
    """It is told as what it is, and a worker may start with it outside of MODE=local; without it, it may not."""
    given: dict[str, Any] = {
        "sandbox": "local",
        "sandbox_bubblewrap": "no-such-program",
        "data_dir": data,
        "mode": "production",
    }
    settings = Settings(**given)
    assert sandbox_said(settings) == ("a user of its own, without walls: bubblewrap (no-such-program) is not installed")
    assert check_isolation(settings) is isolation_of(settings)
    assert list((data / "sandboxes").glob(".probe*")) == []
    with pytest.raises(NotIsolated):
        check_isolation(Settings(**given, sandbox_users="none"))
    data.parent.chmod(0o700)
    found = isolation_of(Settings(**given, sandbox_users="1900000000-1900000009"))
    assert found.users is None
    assert "lets no other user through" in found.said


@pytest.mark.parametrize("given", ["0-10", "1000", "2000-1000", "1000-4294967295", "a-b"])
def test_ids_that_are_none(given: str) -> None:
    """Never root's or the system's."""
    with pytest.raises(ValidationError, match="two user ids"):
        Settings(sandbox_users=given)
