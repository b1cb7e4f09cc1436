"""What can a command do? One function per row of contract.json: it tries, harmlessly, and says yes or no."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.files import SandboxFiles
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.sandbox.own_user import OwnUsers
from agent_runner.clients.sandbox.walls import Walls

REPOSITORY = Path(__file__).parents[3]
SECRET = "s3cret-of-the-run"
PYTHON = sys.executable
"""What commands are asked with; the machine's where the worker's is in somebody's home."""
MB = 10**6
LIMITS = Limits(
    memory_bytes=200 * MB, processes=100, file_bytes=4 * MB, open_files=64, cpu_s=60, disk_bytes=16 * MB
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A data directory with two sessions, the user's entries, and the sandbox of a run in the first.

    `make` opens the sandbox of a session of that name. `program`: what a worker of its own executes to run the command
    `sys.argv[-1]` in the sandbox of a third session, and its arguments before that.
    """

    folder: Path
    box: LocalSandbox
    make: Callable[[str], LocalSandbox]
    program: tuple[str, ...]

    async def can(self, command: str, *, timeout: float = 30.0) -> bool:
        return (await self.box.execute(command, timeout)).exit_code == 0

    def another(self, name: str = "ses-1") -> LocalSandbox:
        return self.make(name)


def sandbox_of(folder: Path, walls: Walls | None, name: str = "ses-1", users: OwnUsers | None = None) -> LocalSandbox:
    mask, root = Mask([SECRET]), folder / "data" / "sandboxes" / name
    return LocalSandbox(
        root, folder / "mine", {"TOKEN": SECRET}, mask, max_result_bytes=20_000, walls=walls, limits=LIMITS, users=users
    ).open()


def local_scene(folder: Path, walls: Walls | None, users: OwnUsers | None) -> Scene:
    def make(name: str) -> LocalSandbox:
        return sandbox_of(folder, walls, name, users)

    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom agent_runner.clients.sandbox.local import LocalSandbox\n"
        "from agent_runner.clients.sandbox.own_user import OwnUsers\n"
        "from agent_runner.clients.sandbox.walls import Walls\n"
        "walls = Walls(bubblewrap=sys.argv[2]) if sys.argv[2] else None\n"
        "box = LocalSandbox(Path(sys.argv[1]), walls=walls, users=OwnUsers.of(sys.argv[3])).open()\n"
        "asyncio.run(box.execute(sys.argv[4]))\n"
    )
    root = folder / "data" / "sandboxes" / "ses-3"
    given = (str(root), walls.bubblewrap if walls else "", f"{users.first}-{users.last}" if users else "")
    return Scene(folder=folder, box=make("ses-1"), make=make, program=(program, *given))


Question = Callable[[Scene], Awaitable[bool]]
QUESTIONS: dict[str, Question] = {}


def question(id_: str) -> Callable[[Question], Question]:
    def add(asked: Question) -> Question:
        QUESTIONS[id_] = asked
        return asked

    return add


def at_work(root_dir: Path) -> list[int]:
    """Processes whose working directory is this sandbox's."""
    found, own = [], os.stat(root_dir / "workspace").st_ino
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.stat(process / "cwd").st_ino == own:
                found.append(int(process.name))
    return found


async def until(true: Callable[[], object], within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@contextlib.contextmanager
def listening(address: tuple[str, int] | str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


def connect(family: str, address: object) -> str:
    return f'{PYTHON} -c "import socket; socket.socket(socket.{family}).connect({address!r})"'


@question("other-session")
async def _(scene: Scene) -> bool:
    note = scene.another("ses-2").work_dir / "note"
    note.write_text("kept")
    read, changed = await scene.can(f"cat {note}"), await scene.can(f"echo no > {note}")
    assert read == changed == (note.read_text() == "no\n")
    return read


@question("data-directory")
async def _(scene: Scene) -> bool:
    (scene.folder / "data" / "checkpoints.db").touch(mode=0o600)  # as a worker's umask makes it
    (scene.folder / "data" / "checkpoints.db").write_text("memory")
    return await scene.can(f"cat {scene.folder}/data/checkpoints.db")


@question("host-files")
async def _(scene: Scene) -> bool:
    (scene.folder / "elsewhere").write_text("not yours")
    return await scene.can(f"cat {scene.folder}/elsewhere") or await scene.can(f"cat {scene.folder}/mine/.hidden")


@question("environment")
async def _(scene: Scene) -> bool:
    """The worker here is a process that has taken its secrets in, as a worker does."""
    program = (
        "import sys\nfrom agent_runner.clients.process.hidden_environment import hide_secrets\n"
        "from agent_runner.clients.settings.settings import load_settings\n"
        "hide_secrets(load_settings('doctor'))\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{REPOSITORY}/src",
        "STIGMER_API_KEY": "k3y-of-the-w0rker",
    }
    env |= {"OPENAI_API_KEY": "k3y-of-the-w0rker", "AGENT_RUNNER_BROKER_URL": "redis://:k3y-of-the-w0rker@localhost"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, cwd=scene.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert await asyncio.to_thread(worker.stdout.readline) == b"ready\n"
        command = "grep -alE 'k3y-of-[t]he-w0rker' /proc/[0-9]*/environ 2>/dev/null"
        found = (await scene.box.execute(command)).output
        worker.kill()
    return "/proc/" in found


@question("processes")
async def _(scene: Scene) -> bool:
    return await scene.can(f"test -e /proc/{os.getpid()}/status")


@question("signal")
async def _(scene: Scene) -> bool:
    return await scene.can(f"kill -0 {os.getpid()}")


@question("ports")
async def _(scene: Scene) -> bool:
    with listening(("127.0.0.1", 0)) as listener:
        return await scene.can(connect("AF_INET", listener.getsockname()))


@question("sockets")
async def _(scene: Scene) -> bool:
    with listening(str(scene.folder / "service")) as listener:
        by_file = await scene.can(connect("AF_UNIX", listener.getsockname()))
    with listening(f"\0{scene.folder}") as listener:
        return by_file or await scene.can(connect("AF_UNIX", f"\0{scene.folder}"))


@question("network")
async def _(scene: Scene) -> bool:
    if len(socket.if_nameindex()) < 2:
        pytest.skip("this machine has no network but its loopback")
    count = await scene.box.execute("grep -c : /proc/net/dev")
    return int(count.output) > 1


@question("privileges")
async def _(scene: Scene) -> bool:
    capabilities = (await scene.box.execute("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status")).output.split()[1::2]
    assert len(capabilities) == 3
    nested = f'{PYTHON} -c "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10000000) != 0)"'
    return any(int(one, 16) for one in capabilities) or await scene.can(nested) or await scene.can("touch /new")


@question("links")
async def _(scene: Scene) -> bool:
    (scene.folder / "elsewhere").write_text("not yours")
    await scene.box.execute(f"ln -s {scene.folder} way; ln -s {scene.folder}/elsewhere file; mkfifo pipe")
    files = SandboxFiles(scene.box)
    read = [files.read(path).error is None for path in ("/way/elsewhere", "/file", "/pipe", "/way/../elsewhere")]
    wrote = [files.write(path, "x").error is None for path in ("/way/new", "/file", "/pipe")]
    assert (scene.folder / "elsewhere").read_text() == "not yours" or any(wrote)
    return any(read) or any(wrote)


@question("daemon")
async def _(scene: Scene) -> bool:
    daemon = "test $0 -gt 0 && kill -9 $0; exec sleep 300"
    await scene.box.execute(f"setsid sh -c '{daemon}' $PPID > /dev/null 2>&1 & sleep 1")
    assert await until(lambda: len(at_work(scene.box.root_dir)) == 1), "the daemon has not begun"
    await scene.box.close()
    gone = await until(lambda: not at_work(scene.box.root_dir), 20)
    for pid in at_work(scene.box.root_dir):
        os.kill(pid, signal.SIGKILL)
    return not gone


@question("killed-worker")
async def _(scene: Scene) -> bool:
    root = scene.another("ses-3").root_dir
    command = "setsid sleep 100 & (setsid sleep 100 &) ; wait"
    worker = subprocess.Popen([sys.executable, "-c", *scene.program, command], cwd=REPOSITORY)
    try:
        assert await until(lambda: len(at_work(root)) >= 3)
    finally:
        worker.kill()
        worker.wait()
    return not await until(lambda: not at_work(root), 20)


@question("cancel")
async def _(scene: Scene) -> bool:
    command = "trap '' TERM; sleep 100 & (setsid sleep 100 &); (env -i setsid sleep 100 &); wait"
    task = asyncio.create_task(scene.box.execute(command))
    assert await until(lambda: len(at_work(scene.box.root_dir)) >= 4)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    return bool(at_work(scene.box.root_dir))


@question("timeout")
async def _(scene: Scene) -> bool:
    began = time.monotonic()
    result = await scene.box.execute("trap '' TERM; while :; do sleep 0.1; done", 0.5)
    assert result.exit_code == 124
    return time.monotonic() - began > 60 or bool(at_work(scene.box.root_dir))


@question("many-processes")
async def _(scene: Scene) -> bool:
    running = asyncio.create_task(scene.box.execute("for i in $(seq 200); do sleep 60 & done; echo all; wait", 20))
    most = 0
    while not running.done():
        most = max(most, len(at_work(scene.box.root_dir)))
        await asyncio.sleep(0.3)
    result = await running
    assert result.exit_code != 124, "it went on until its timeout"
    return result.exit_code == 0


@question("memory")
async def _(scene: Scene) -> bool:
    return await scene.can(f'{PYTHON} -c "x = bytearray({300 * MB})"')


@question("memory-together")
async def _(scene: Scene) -> bool:
    one = f"{PYTHON} -c 'import time; x = bytearray({100 * MB}); time.sleep(30)'"
    began = time.monotonic()
    result = await scene.box.execute(f"{one} & {one} & {one} & wait", 25)
    assert "of memory (AGENT_RUNNER_SANDBOX_MEMORY_BYTES)" in result.output
    return result.exit_code == 0 or time.monotonic() - began > 20


@question("big-file")
async def _(scene: Scene) -> bool:
    await scene.box.execute("head -c 9000000 /dev/zero > big")
    return (scene.box.work_dir / "big").stat().st_size > LIMITS.file_bytes


@question("quota")
async def _(scene: Scene) -> bool:
    fill = "for i in $(seq 100); do head -c 1000000 /dev/zero > f$i; sleep 0.1; done; sleep 20"
    result = await scene.box.execute(fill, 30)
    assert "on disk (AGENT_RUNNER_SANDBOX_DISK_BYTES)" in result.output
    return result.exit_code != 137 or await scene.can("head -c 1000 /dev/zero > more && test -s more")


@question("quota-tools")
async def _(scene: Scene) -> bool:
    files = SandboxFiles(scene.box)
    assert files.write("/a", "a" * (10 * MB)).error is None
    return (
        files.write("/b", "b" * (10 * MB)).error is None or not files.upload_files([("/b", b"b" * (10 * MB))])[0].error
    )


@question("open-files")
async def _(scene: Scene) -> bool:
    return await scene.can(f"{PYTHON} -c \"x = [open('/dev/null') for _ in range(100)]\"")


@question("exit-code")
async def _(scene: Scene) -> bool:
    codes = [(await scene.box.execute(one)).exit_code for one in ("exit 0", "exit 7", "kill -9 $$", "no-such-program")]
    return codes == [0, 7, 137, 127]


@question("output")
async def _(scene: Scene) -> bool:
    result = await scene.box.execute('echo first; head -c 2000000 /dev/zero | tr "\\0" x; echo "$TOKEN"; echo last')
    name = result.output.partition("full output is in /")[2].partition("]")[0]
    whole = (scene.box.work_dir / name).read_text()
    masked = "********\nlast\n" in whole and SECRET not in whole and SECRET not in result.output
    cut = len(result.output) < 21_000 and result.output.startswith("first\n") and result.output.endswith("last\n")
    return masked and cut and len(whole) > 2_000_000


@question("own-files")
async def _(scene: Scene) -> bool:
    await scene.box.execute("echo kept > note")
    next_turn = scene.another()
    kept = (await next_turn.execute("cat note")).output
    await next_turn.close()
    return kept == "kept\n"


@question("shown-entries")
async def _(scene: Scene) -> bool:
    await scene.box.execute("cat app/a.py > app/b.py")
    return (scene.folder / "mine" / "app" / "b.py").read_text() == "1\n"


@question("server")
async def _(scene: Scene) -> bool:
    serve = f"{PYTHON} -m http.server 18471 --bind 127.0.0.1 > /dev/null 2>&1 &"
    ask = "import sys, urllib.request as u; sys.exit(u.urlopen('http://127.0.0.1:18471/', timeout=5).status != 200)"
    await scene.box.execute(f"{serve} echo up")
    for _ in range(50):
        if await scene.can(f'{PYTHON} -c "{ask}"'):
            return True
    return False


@question("removing")
async def _(scene: Scene) -> bool:
    for name in "abcd":
        (scene.box.work_dir / name).write_bytes(b"x" * (4 * MB))
    (scene.box.work_dir / "e").write_bytes(b"x" * MB)
    refused = await scene.box.execute("echo no > f")
    assert refused.exit_code
    assert "quota" in refused.output
    await scene.box.execute("rm a b")
    return await scene.can("echo yes > f") and (scene.box.work_dir / "f").read_text() == "yes\n"
