"""The file tools: confined to the sandbox and the linked entries, and masked."""

import asyncio
import base64
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.engines.sandbox_backend import CurrentSandboxBackend
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.files import MAX_READ_BYTES, SandboxFiles
from agent_runner.clients.sandbox.local import LocalSandbox, SandboxError
from agent_runner.tasks.worker.loop import OWNER, AgentLoop

SECRET = "s3cret-of-the-run"


@pytest.fixture
def box(tmp_path: Path) -> LocalSandbox:
    mine = tmp_path / "mine"
    (mine / "app" / "deep").mkdir(parents=True)
    (mine / "app" / "a.py").write_text("import os\nneedle = 1\n")
    (mine / "app" / "deep" / "b.py").write_text("needle\n")
    (mine / "README").write_text("hello\n")
    (mine / ".env").write_text("needle")
    (tmp_path / "outside.txt").write_text("needle outside")
    return LocalSandbox(tmp_path / "box", mine, {}, Mask([SECRET])).open()


def text(files: SandboxFiles, path: str) -> str:
    read = files.read(path)
    assert read.error is None
    assert read.file_data is not None
    return read.file_data["content"]


def test_write_read_edit_delete(box: LocalSandbox) -> None:
    """A file's life, by virtual path, by relative path and by its real path."""
    files = SandboxFiles(box)
    assert files.write("/notes/a.txt", "one\ntwo\n").error is None
    assert (box.work_dir / "notes" / "a.txt").read_text() == "one\ntwo\n"
    assert text(files, f"{box.work_dir}/notes/a.txt") == "one\ntwo\n"
    assert files.edit("notes/a.txt", "two", "2").occurrences == 1
    assert "2" in text(files, "/notes/a.txt")
    assert files.delete("/notes").error is None
    assert "not found" in (files.read("/notes/a.txt").error or "")


def test_linked_entries_are_read_written_and_searched(box: LocalSandbox) -> None:
    """ls, glob and grep follow the user's entries, under their names in the sandbox."""
    files = SandboxFiles(box)
    assert [entry["path"] for entry in files.ls("/").entries or []] == ["/README", "/app/"]
    assert text(files, "/app/a.py").startswith("import os")
    assert [m["path"] for m in files.glob("*.py").matches or []] == ["/app/a.py", "/app/deep/b.py"]
    assert [m["path"] for m in files.glob("deep/*.py", "/app").matches or []] == ["/app/deep/b.py"]
    found = files.grep("needle").matches or []
    assert [(m["path"], m["line"]) for m in found] == [("/app/a.py", 2), ("/app/deep/b.py", 1)]
    assert files.grep("needle", max_count=1).truncated
    assert files.write("/app/new.py", "x").error is None
    assert (box.links["app"] / "new.py").read_text() == "x"


@pytest.mark.parametrize("path", ["/../outside.txt", "/evil/outside.txt", "/linked.txt", "/app/../../outside.txt"])
def test_nothing_outside_is_reached(box: LocalSandbox, path: str) -> None:
    """Dots and links that the agent made lead nowhere: not for reading, writing, deleting or searching."""
    outside = box.root_dir.parent
    (box.work_dir / "evil").symlink_to(outside)
    (box.work_dir / "linked.txt").symlink_to(outside / "outside.txt")
    files = SandboxFiles(box)
    assert files.read(path).error
    files.write(path, "changed")  # a path with dots stays inside: that is its own file
    files.edit(path, "needle", "changed")
    files.delete(path)
    assert (outside / "outside.txt").read_text() == "needle outside"
    assert "needle outside" not in str(files.grep("needle").matches)


def test_deleting_a_link_keeps_what_it_shows(box: LocalSandbox) -> None:
    """Deleting an entry of the user deletes only its link."""
    files = SandboxFiles(box)
    assert files.delete("/app").error is None
    assert not (box.work_dir / "app").exists()
    assert box.links["app"].exists()


def test_secrets_in_files_are_masked(box: LocalSandbox) -> None:
    """Reading and searching show no secret of the run."""
    (box.work_dir / "cfg").write_text(f"token={SECRET}\n")
    files = SandboxFiles(box)
    assert SECRET not in text(files, "/cfg")
    assert [m["text"] for m in files.grep("token").matches or []] == ["token=********"]


def test_errors_do_not_show_where_the_sandbox_lies(box: LocalSandbox) -> None:
    """The host's path is no business of the model."""
    files = SandboxFiles(box)
    for error in (
        files.read("/nope").error,
        files.ls("/nope").error,
        files.read("/app").error,
        files.read("/..").error,
    ):
        assert error
        assert str(box.root_dir) not in error


async def test_the_backend_is_that_of_the_current_run(tmp_path: Path) -> None:
    """One backend object serves every run; outside of a run it refuses."""
    backend = CurrentSandboxBackend()
    with pytest.raises(SandboxError):
        backend.read("/x")
    for name in ("one", "two"):
        sandbox = LocalSandbox(tmp_path / name).open()
        with running(CurrentRun(thread_id=name, sandbox=sandbox)):
            await backend.awrite("/who.txt", name)
            assert (await backend.aexecute("cat who.txt")).output == name
        await sandbox.close()


async def test_edits_of_one_file_at_once(box: LocalSandbox) -> None:
    """Each is kept: a model may ask for several in one turn, and sub-agents work side by side."""
    backend, lines = CurrentSandboxBackend(), [f"line {n:02}" for n in range(40)]
    filling = "x" * (1 << 20)  # so that each edit takes a while
    with running(CurrentRun(thread_id="t", sandbox=box)):
        await backend.awrite("/report.md", "\n".join([*(f"{line}: ?" for line in lines), filling]))
        edits = [backend.aedit("/report.md", f"{line}: ?", f"{line}: done") for line in lines]
        assert [result.error for result in await asyncio.gather(*edits)] == [None] * len(lines)
    assert text(SandboxFiles(box), "/report.md").count(": done") == len(lines)


async def test_a_pipe_and_a_device_hold_up_nobody(box: LocalSandbox) -> None:
    """What is no regular file is refused at once, by every tool, and searching passes it by."""
    os.mkfifo(box.work_dir / "pipe")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.path.relpath(box.work_dir / "socket"))
    files, began = SandboxFiles(box), time.monotonic()
    for name in ("/pipe", "/socket"):
        assert files.read(name).error
        assert files.write(name, "x").error
        assert files.edit(name, "a", "b").error
        assert files.download_files([name])[0].error
        assert files.upload_files([(name, b"x")])[0].error
    assert files.grep("needle").error is None
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("tool", ["read", "edit", "download"])
def test_one_size_is_too_much_for_all_tools(box: LocalSandbox, tool: str) -> None:
    """Also when the file grows while it is read."""
    (box.work_dir / "big").write_bytes(b"x" * (MAX_READ_BYTES + 1))
    (box.work_dir / "just").write_bytes(b"x" * MAX_READ_BYTES)
    files = SandboxFiles(box)
    work: dict[str, Callable[[str], str | None]] = {
        "read": lambda path: files.read(path).error,
        "edit": lambda path: files.edit(path, "y", "z").error,
        "download": lambda path: files.download_files([path])[0].error,
    }
    error = work[tool]("/big")
    assert error
    assert tool == "download" or "larger than 10 MiB" in error
    assert "larger" not in (work[tool]("/just") or "")


def test_secrets_in_binary_files_are_masked_before_they_are_encoded(box: LocalSandbox) -> None:
    """Reading and downloading; the bytes around them stay."""
    (box.work_dir / "db").write_bytes(b"\xff\xfe\x00" + SECRET.encode() + b"\x80\xff")
    files = SandboxFiles(box)
    read = files.read("/db")
    assert read.file_data is not None
    assert read.file_data["encoding"] == "base64"
    expected = b"\xff\xfe\x00********\x80\xff"
    assert base64.b64decode(read.file_data["content"]) == expected
    assert files.download_files(["/db"])[0].content == expected


def test_a_link_that_is_moved_while_a_tool_works_leads_nowhere(box: LocalSandbox) -> None:
    """A directory that turns into a link and back a thousand times: nothing outside is read or written."""
    outside = box.root_dir.parent / "elsewhere"
    outside.mkdir()
    (outside / "f").write_text("needle outside")
    here, kept = box.work_dir / "d", box.work_dir / "kept"
    kept.mkdir()
    (kept / "f").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                kept.rename(here)
                here.rename(kept)
                here.symlink_to(outside)
                here.unlink()

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        files, seen = SandboxFiles(box), set()
        for n in range(1000):
            read = files.read("/d/f")
            seen.add(read.file_data["content"] if read.file_data else "error")
            files.write("/d/new", str(n))
            files.delete("/d/new")
    finally:
        stop.set()
        swapping.join()
    assert seen <= {"inside", "error"}
    assert sorted(path.name for path in outside.iterdir()) == ["f"]


def test_modes_of_what_the_tools_make_are_the_users(box: LocalSandbox) -> None:
    """A worker's own umask closes its files to others; what it makes in the user's directories is none of them."""
    before = os.umask(0o077)
    try:
        assert SandboxFiles(box).write("/app/fresh/new.py", "x").error is None
    finally:
        os.umask(before)
    made = box.links["app"] / "fresh"
    assert [made.stat().st_mode & 0o777, (made / "new.py").stat().st_mode & 0o777] == [0o755, 0o644]


def test_file_tools_run_on_threads_of_their_own_run(box: LocalSandbox) -> None:
    """Not on those that all runs of the process share."""
    loop = AgentLoop(threads_per_run=2)
    loop.start()
    seen: list[str] = []

    class Looking(Mask):
        def __call__(self, text: str) -> str:
            seen.append(threading.current_thread().name)
            return text

    async def read() -> None:
        OWNER.set("run-1")
        box.mask = Looking()
        with running(CurrentRun(thread_id="t", sandbox=box)):
            await CurrentSandboxBackend().aread("/README")
            await CurrentSandboxBackend().agrep("hello")

    try:
        loop.threads.begin("run-1")
        loop.submit(read()).result(20)
    finally:
        loop.stop()
        loop._loop.close()  # a process ends instead; here a later test would be blamed for what is left open
    assert set(seen) == {"run thread"}
