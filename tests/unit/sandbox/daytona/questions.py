"""The questions of the sandbox contract, asked of a session's sandbox at Daytona. What is Daytona's own to keep (walls,
memory, disk) is answered by bubblewrap here, where it is asked at all."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agent_runner.clients.process.threads import apart
from agent_runner.clients.sandbox.daytona.kind import DaytonaKind
from agent_runner.clients.sandbox.daytona.sandbox import DaytonaSandbox
from tests.support.daytona.service import DaytonaService
from tests.unit.sandbox.daytona.conftest import SECRET, asked
from tests.unit.sandbox.questions import connect, listening

REPOSITORY = Path(__file__).parents[4]
TREE = "trap '' TERM; sleep 100 & (setsid sleep 100 &); (env -i setsid sleep 100 &); wait"
"""Three that would stay: a child, one that left the session, and one that hides besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    folder: Path
    service: DaytonaService
    kind: DaytonaKind
    box: DaytonaSandbox

    async def can(self, command: str) -> bool:
        return (await self.box.execute(command, 30)).exit_code == 0

    async def opened(self, name: str = "ses-1") -> DaytonaSandbox:
        return await apart(self.kind.open, asked(name), name="open")

    async def sleepers(self) -> int:
        return await sleepers(self.box)


Question = Callable[[Scene], Awaitable[str | bool]]
QUESTIONS: dict[str, Question] = {}


def question(*ids: str) -> Callable[[Question], Question]:
    def add(asked: Question) -> Question:
        QUESTIONS.update(dict.fromkeys(ids, asked))
        return asked

    return add


async def sleepers(box: DaytonaSandbox) -> int:
    """How many `sleep` run in the sandbox, asked past the run, so that a closed one can be asked too."""
    line = 'n=0; for p in /proc/[0-9]*/comm; do read c < $p && [ "$c" = sleep ] && n=$((n + 1)); done; echo $n'
    said = await apart(lambda: box.box.process.exec(line, timeout=20), name="ask")
    return int(said.result)


async def begun(box: DaytonaSandbox, count: int) -> None:
    for _ in range(200):
        if await sleepers(box) >= count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the processes have not begun")


@question("other-session")
async def _(scene: Scene) -> bool:
    other = await scene.opened("ses-2")
    await other.execute("echo kept > note; pwd")
    return await scene.can("cat note || find / -name note 2> /dev/null | grep note")


@question("data-directory", "host-files")
async def _(scene: Scene) -> bool:
    (scene.folder / "checkpoints.db").write_text("memory")
    return await scene.can(f"cat {scene.folder}/checkpoints.db")


@question("environment")
async def _(scene: Scene) -> bool:
    look = "grep -alE '[D]AYTONA_API_KEY|dtn_[0-9a-f]{9}' /proc/[0-9]*/environ"
    files = "grep -rlE 'dtn_[0-9a-f]{9}' ~ /run /tmp /dev/shm"
    said = await scene.box.execute(f"env | grep -i daytona_api; {look}; {files}")
    return bool(said.output)


@question("processes", "signal")
async def _(scene: Scene) -> bool:
    """By its name: the same number may be another process's there."""
    said = await scene.box.execute("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    return "pytest" in said.output


@question("ports")
async def _(scene: Scene) -> bool:
    with listening(("127.0.0.1", 0)) as listener:
        return await scene.can(connect("AF_INET", listener.getsockname()))


@question("sockets")
async def _(scene: Scene) -> bool:
    with listening(str(scene.folder / "service")) as listener:
        return await scene.can(connect("AF_UNIX", listener.getsockname()))


@question("network")
async def _(scene: Scene) -> bool:
    assert scene.service.only().asked["networkBlockAll"]
    return int((await scene.box.execute("grep -c : /proc/net/dev")).output) > 1


@question("links")
async def _(scene: Scene) -> bool:
    (scene.folder / "elsewhere").write_text("not yours")
    await scene.box.execute(f"ln -s {scene.folder} way; ln -s {scene.folder}/elsewhere file; mkfifo pipe")
    files = scene.box.files
    read = [files.read(path).error is None for path in ("/way/elsewhere", "/file", "/pipe", "/../../elsewhere")]
    return any(read) or files.write("/pipe", "x").error is None


@question("daemon")
async def _(scene: Scene) -> bool:
    await scene.box.execute("setsid sh -c 'env -i setsid sleep 300 & env -i sleep 300' > /dev/null 2>&1 & sleep 0.3")
    await begun(scene.box, 2)
    await scene.box.close()
    return await scene.sleepers() > 0


@question("killed-worker")
async def _(scene: Scene) -> str | bool:
    """Daytona knows nothing of workers: it ends a sandbox that nobody uses any more."""
    program = (
        "import asyncio, sys\nfrom agent_runner.clients.sandbox.daytona.kind import DaytonaKind\n"
        "from agent_runner.clients.sandbox.kinds.kind import SandboxRequest\n"
        "from agent_runner.clients.settings.settings import Settings\n"
        "box = DaytonaKind(Settings(sandbox='local')).open(SandboxRequest(name='ses-1'))\n"
        "asyncio.run(box.execute('setsid sleep 100 & (setsid sleep 100 &) ; wait'))\n"
    )
    env = {**os.environ, "DAYTONA_API_KEY": scene.service.key, "DAYTONA_API_URL": scene.service.url}
    await scene.box.close()
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, env=env)
    try:
        await begun(scene.box, 2)
    finally:
        worker.kill()
        worker.wait()
    assert await scene.sleepers() >= 2
    again = await scene.opened()
    assert await scene.sleepers() == 0, "the next run of the session ends what is left"
    await again.execute("setsid sleep 100 > /dev/null 2>&1 &")
    scene.service.pass_minutes(scene.kind.settings.daytona_auto_stop_min)
    return "until idle" if scene.service.only().state == "stopped" else True


@question("cancel")
async def _(scene: Scene) -> bool:
    task = asyncio.create_task(scene.box.execute(TREE))
    await begun(scene.box, 3)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    assert task.cancelled()
    return await scene.sleepers() > 0


@question("timeout")
async def _(scene: Scene) -> bool:
    result = await scene.box.execute(TREE, timeout=2)
    assert result.exit_code == 124
    assert "did not end within 2 s" in result.output
    return await scene.sleepers() > 0


@question("exit-code")
async def _(scene: Scene) -> bool:
    codes = [(await scene.box.execute(line)).exit_code for line in ("true", "exit 3", "kill -9 $$", "no-such-command")]
    return codes == [0, 3, 137, 127]


@question("output")
async def _(scene: Scene) -> bool:
    lines = "head -c 2000000 /dev/zero | tr '\\0' x | fold -w 99"
    result = await scene.box.execute(f'echo first; echo $TOKEN; {lines}; echo; echo "$TOKEN"; printf last', 60)
    name = result.output.partition("full output is in ")[2].partition("]")[0]
    kept = await scene.box.execute(
        f"wc -c < .{name}; grep -c {SECRET} .{name}; grep -c '^[*]*$' .{name}; tail -n 1 .{name}"
    )
    short = len(result.output) < 20_500 and result.output.startswith("first\n****") and result.output.endswith("\nlast")
    size = len("first\n********\n") + 2_000_000 + 2_000_000 // 99 + len("\n********\nlast")
    return result.truncated and short and kept.output == f"{size}\n0\n2\nlast"


@question("own-files")
async def _(scene: Scene) -> bool:
    await scene.box.execute("echo kept > note")
    await scene.box.close()
    again = await scene.opened()
    return (await again.execute("cat note")).output == "kept\n"


@question("shown-entries")
async def _(scene: Scene) -> bool:
    (scene.folder / "app").mkdir()
    return await scene.can("ls app")


@question("server")
async def _(scene: Scene) -> bool:
    program = "import socket\ns = socket.create_server(('127.0.0.1', 4567))\nwhile 1: s.accept()[0].sendall(b'here')"
    await scene.box.execute(f'python3 -c "{program}" & sleep 0.5')
    ask = "import socket; print(socket.create_connection(('127.0.0.1', 4567)).recv(9))"
    there = await scene.box.execute(
        f'for n in 1 2 3 4 5 6 7 8 9; do python3 -c "{ask}" 2> /dev/null && exit; sleep 0.3; done'
    )
    await scene.box.close()
    return "here" in there.output
