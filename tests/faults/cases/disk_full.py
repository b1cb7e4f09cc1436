"""F36: the sandboxes' disk is full. Everything that writes to it meets a real ENOSPC."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Json
from tests.support.waiting import eventually

SIZE = "1m"
FULL = "No space left on device"
NAMESPACES = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
"""As root, and as anybody where the kernel lets them: the mount is the worker's own and ends with it."""


@case("F36")
def disk_full(scene: Scene) -> None:
    """A command that fills the disk, a file tool and a command with too much output meet it; the run goes on."""
    sandboxes = scene.stack.folder / "sandboxes"
    sandboxes.mkdir()
    worker = scene.stack.spawn("worker", [*_on_small_disk(sandboxes), *_worker()])
    eventually(scene.stack.workers, within_s=40, what=f"the worker; it printed:\n{worker.output()[-2000:]}")
    lines = ["Fill it.", "$ sleep 0.5", "$ df . | tail -1", "$ head -c 3000000 /dev/zero > big; echo left $?"]
    lines += ["$ head -c 3000000 /dev/zero > big", f"> write more.txt: {'x' * 5000}", "$ seq 1 200000", "$ rm big"]
    scene.send("\n".join([*lines, "> write again.txt: there is room", "$ echo went on"]))
    scene.strike()
    status = scene.end()
    calls = {str(c["args"].get("command") or c["args"].get("file_path")): c for c in status["tool_calls"]}
    for name in ("head -c 3000000 /dev/zero > big", "more.txt"):
        call: Json = next((c for key, c in calls.items() if key.endswith(name)), {})
        said = f"{call.get('result')} {call.get('error')}"
        scene.evidence(FULL in said, f"{name} met a full disk: {said[:300]}")
        scene.demand(call.get("status") == "TOOL_CALL_FAILED", f"{name} is {call.get('status')}")
    printed = calls.get("seq 1 200000", {})
    said, shown = f"{printed.get('status')} {printed.get('error')}", str(printed.get("result", ""))
    scene.demand(said == "TOOL_CALL_COMPLETED None", f"what was printed could not be kept, and the call is {said}")
    scene.demand(
        shown.startswith("1\n2\n3\n") and "\n200000\n" in shown, f"head and tail of it are not shown: {shown[-300:]!r}"
    )
    scene.demand(FULL in shown, "nothing says that the whole of it is nowhere")
    went_on = calls.get("echo went on", {})
    scene.demand(went_on.get("status") == "TOOL_CALL_COMPLETED", f"the run did not go on: {went_on}")
    scene.next_works()


def _worker() -> list[str]:
    return [sys.executable, str(Path(sys.executable).parent / "agent-runner"), "worker"]


def _on_small_disk(folder: Path) -> Sequence[str]:
    """In front of a command line: it then sees a small file system of its own at `folder`."""
    mount = f"mount -t tmpfs -o size={SIZE} tmpfs {folder}"
    for namespace in NAMESPACES if shutil.which("unshare") else ():
        if subprocess.run([*namespace, "sh", "-c", mount], capture_output=True).returncode == 0:
            return [*namespace, "sh", "-c", f'{mount} && exec "$@"', "sh"]
    raise AssertionError("no small disk: neither root nor user namespaces can mount a tmpfs here")
