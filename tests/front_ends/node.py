"""Node with packages of npm, for tests that drive the real clients: installed once for all tests of a machine.

Without Node, npm or a registry the tests are skipped: nothing of ours needs them.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("@ag-ui/client@1.0.0", "ag-ui-of-copilotkit@npm:@ag-ui/client@0.0.59", "ai@7.0.173", "typescript@7.0.2")
"""CopilotKit's runtime has a client of its own, of an older version."""
COPILOTKIT = ("@copilotkit/runtime@1.75.0", "@ag-ui/client@0.0.59", "@hono/node-server@1.19.19")
INSTALL_S, RUN_S = 240, 120
COPILOTKIT_INSTALL_S = 1500
HERE = Path(__file__).parent


def packages(names: Sequence[str] = PACKAGES, within_s: float = INSTALL_S) -> Path:
    """A folder whose `node_modules` has them. Skips the test if it cannot be made."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node here")
    mark = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"agent-runner-npm-{os.getuid()}-{mark}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", *names]
            (folder / "package.json").write_text("{}")
            try:
                subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=within_s)
            except (subprocess.SubprocessError, OSError) as error:
                pytest.skip(f"the packages of npm cannot be had: {error}")
            (folder / "whole").touch()
    return folder


def node(script: str, place: Path, *arguments: str, **environment: str) -> list[Any]:
    """Runs the text of an ES module in the folder `place`; what it prints, JSON line by line."""
    (place / "node_modules").symlink_to(packages() / "node_modules")
    (place / "script.mjs").write_text(script)
    done = subprocess.run(
        ["node", "script.mjs", *arguments],
        cwd=place,
        env={"PATH": os.environ["PATH"], "HOME": str(place), **environment},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return [json.loads(line) for line in done.stdout.splitlines() if line]
