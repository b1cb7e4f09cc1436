"""The file tools: confined to the sandbox and the linked entries, and masked."""

from pathlib import Path

import pytest

from clients.engine.current import CurrentRun, running
from clients.masking import Mask
from clients.sandbox.backend import CurrentSandboxBackend
from clients.sandbox.files import SandboxFiles
from clients.sandbox.local import LocalSandbox, SandboxError

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
