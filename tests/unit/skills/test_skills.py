"""Skills on a worker: fetched once, checked, laid out in the sandbox, told in the prompt."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent_runner.clients.engine.agent_definition import SkillSpec
from agent_runner.clients.engine.skills_prompt import skills_prompt
from agent_runner.clients.reporting.native import BackendUnavailable
from agent_runner.clients.sandbox.files import SandboxFiles
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.skills import library as skills
from agent_runner.clients.skills.archive import hash_of, read_archive
from agent_runner.clients.skills.library import SkillError, SkillShelf, lay_out
from tests.unit.skills.archives import SKILL_MD, archive


@dataclass
class Server:
    """Archives by key, and what was asked for."""

    archives: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def fetch(self, key: str) -> bytes:
        self.asked.append(key)
        if key not in self.archives:
            raise BackendUnavailable("UNAVAILABLE: nobody is there")
        return self.archives[key]


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path / "box").open()
    yield opened
    await opened.close()


async def test_an_archive_is_fetched_once(tmp_path: Path) -> None:
    """The second run, and another process of the same machine, find it by its hash."""
    data = archive()
    server = Server({"key": data})
    for _ in range(2):
        shelf = SkillShelf(tmp_path / "skills", server.fetch)
        assert (await shelf.archive("invoices", hash_of(data), "key")).skill_md == SKILL_MD
    assert server.asked == ["key"]


async def test_runs_that_fetch_one_skill_at_once_share_no_file_of_it(
    tmp_path: Path,
) -> None:
    """Each writes a file of its own until it is whole; all of them get the skill, and nothing else is left."""
    data, both = archive(), threading.Barrier(2)
    written: list[Path] = []

    class Slow(type(tmp_path)):  # type: ignore[misc]
        def write_bytes(self, data: bytes) -> int:
            written.append(Path(self))
            both.wait(20)
            return int(super().write_bytes(data))

    shelves = [SkillShelf(Slow(tmp_path), Server({"key": data}).fetch) for _ in range(2)]
    got = await asyncio.gather(*(shelf.archive("invoices", hash_of(data), "key") for shelf in shelves))
    assert [archive.skill_md for archive in got] == [SKILL_MD, SKILL_MD]
    assert len(set(written)) == 2
    assert [f"{hash_of(data)}.zip"] == [path.name for path in tmp_path.iterdir()]


async def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    """What the disk holds is compared with its hash, too."""
    data = archive()
    server = Server({"key": data})
    shelf = SkillShelf(tmp_path, server.fetch)
    await shelf.archive("invoices", hash_of(data), "key")
    (tmp_path / f"{hash_of(data)}.zip").write_bytes(b"damaged")
    assert (await shelf.archive("invoices", hash_of(data), "key")).skill_md == SKILL_MD
    assert len(server.asked) == 2


def _unavailable(server: Server) -> str:
    return hash_of(archive())


def _other(server: Server) -> str:
    server.archives["key"] = archive({"more": "x"})
    return hash_of(archive())


def _no_archive(server: Server) -> str:
    server.archives["key"] = b"no zip"
    return hash_of(b"no zip")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [(_unavailable, "nobody is there"), (_other, "is not version"), (_no_archive, "not a zip")],
)
async def test_what_cannot_be_had(tmp_path: Path, prepare: Callable[[Server], str], says: str) -> None:
    """Nobody answers, it is another one, it cannot be read: a SkillError that names the skill."""
    server = Server()
    version_hash = prepare(server)
    fetch: Callable[[str], Awaitable[bytes]] = server.fetch
    with pytest.raises(SkillError, match=says) as caught:
        await SkillShelf(tmp_path, fetch).archive("invoices", version_hash, "key")
    assert caught.value.skill == "invoices"


async def test_the_shelf_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archives that were not used for the longest time go first; the newest one always stays."""
    many = [archive({"n.txt": str(n)}) for n in range(4)]
    monkeypatch.setattr(skills, "MAX_SHELF_BYTES", len(many[0]) * 2 + 10)
    server = Server({str(n): data for n, data in enumerate(many)})
    shelf = SkillShelf(tmp_path, server.fetch)
    for n, data in enumerate(many):
        await shelf.archive("s", hash_of(data), str(n))
        os.utime(tmp_path / f"{hash_of(data)}.zip", (n + 1, n + 1))
    assert {path.stem for path in tmp_path.iterdir()} == {hash_of(data) for data in many[2:]}


@pytest.mark.promise("1.27")
async def test_the_agents_tools_read_what_was_laid_out(sandbox: LocalSandbox) -> None:
    """The path that is told is the one of the file tools; in commands it is the same without its first slash."""
    path = lay_out(sandbox, "invoices", "invoices", read_archive(archive({"scripts/read.sh": "#!/bin/sh\necho read"})))
    assert path == "/skills/invoices"
    read = SandboxFiles(sandbox).read(f"{path}/SKILL.md")
    assert read.file_data is not None
    assert "# Invoices" in read.file_data["content"]
    result = await sandbox.execute(f".{path}/scripts/read.sh && cat {path[1:]}/SKILL.md")
    assert (result.exit_code, result.output) == (0, f"read\n{SKILL_MD}")


def test_a_new_version_takes_the_place_of_the_old(sandbox: LocalSandbox) -> None:
    """Nothing of an earlier turn's version stays, nor what the agent did to it."""
    lay_out(sandbox, "s", "s", read_archive(archive({"old.txt": "x"})))
    (sandbox.work_dir / "skills/s/SKILL.md").write_text("changed by the agent")
    lay_out(sandbox, "s", "s", read_archive(archive({"new.txt": "y"})))
    assert sorted(os.listdir(sandbox.work_dir / "skills/s")) == ["SKILL.md", "new.txt"]
    assert (sandbox.work_dir / "skills/s/SKILL.md").read_text() == SKILL_MD


def test_a_skill_is_there_as_a_whole_or_not_at_all(sandbox: LocalSandbox) -> None:
    """An earlier run that was cancelled in the middle of writing it leaves nothing in the way of the next one."""
    broken = read_archive(archive({"b.txt": "b"}))
    seen: list[list[str]] = []

    def half() -> Iterator[Any]:
        for file in list(type(broken).files(broken)):
            yield file
            seen.append([path.name for path in (sandbox.work_dir / "skills").iterdir() if path.name == "invoices"])
        raise OSError("the disk is full")

    with pytest.raises(SkillError, match="the disk is full"):
        lay_out(sandbox, "Invoices", "invoices", cast("Any", SimpleNamespace(files=half)))
    assert seen
    assert not any(seen)
    assert list((sandbox.work_dir / "skills").iterdir()) == []


async def test_the_users_own_files_are_not_touched(tmp_path: Path) -> None:
    """A user's folder `skills` that is shown in the sandbox stays as it is: ours is beside it."""
    own = tmp_path / "project"
    (own / "skills").mkdir(parents=True)
    (own / "skills" / "mine.txt").write_text("mine")
    sandbox = LocalSandbox(tmp_path / "box", own).open()
    path = lay_out(sandbox, "s", "s", read_archive(archive()))
    await sandbox.close()
    assert path == "/.agent-runner/skills/s"
    assert SandboxFiles(sandbox).read(f"{path}/SKILL.md").error is None
    assert os.listdir(own / "skills") == ["mine.txt"]


@pytest.mark.parametrize("link", ["skills", "skills/s", ".agent-runner"])
def test_links_of_an_agent_are_not_followed(tmp_path: Path, sandbox: LocalSandbox, link: str) -> None:
    """What an earlier turn's agent linked elsewhere: nothing is written or removed there."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    here = sandbox.work_dir / link
    here.parent.mkdir(exist_ok=True)
    here.symlink_to(elsewhere)
    if link == ".agent-runner":
        (sandbox.work_dir / "skills").write_text("a file in the way")
    path = lay_out(sandbox, "s", "s", read_archive(archive()))
    assert SandboxFiles(sandbox).read(f"{path}/SKILL.md").error is None
    assert os.listdir(elsewhere) == ["kept"]


def test_a_folder_that_cannot_be_written(sandbox: LocalSandbox) -> None:
    """A SkillError that names the skill."""
    (sandbox.work_dir / "skills").mkdir()
    with pytest.raises(SkillError, match="cannot be written") as caught:
        lay_out(sandbox, "invoices", "x" * 300, read_archive(archive()))
    assert caught.value.skill == "invoices"


@pytest.mark.promise("1.31")
def test_the_prompt_does_not_grow_with_the_skill() -> None:
    """Name, description and path; the body only where it was asked for."""
    assert skills_prompt(()) == ""
    listed = SkillSpec(name="Invoices", description="Reads invoices.", path="/skills/invoices")
    told = skills_prompt((listed,))
    assert "- Invoices: Reads invoices. (`/skills/invoices/SKILL.md`)" in told
    whole = SkillSpec(name="Bills", description="", path="/skills/bills", body="Add them up.")
    both = skills_prompt((listed, whole))
    assert told in both
    assert "## Skill Bills (its folder is `/skills/bills`)\nAdd them up." in both
