"""The code blocks of a guide, and somebody who does what they say."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from checks.tree import ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^# ([\w.-]+)\n")


def blocks(guide: str) -> list[tuple[str, str]]:
    """Language and text of each code block, in the order of the guide."""
    return BLOCK.findall((ROOT / "docs" / "guides" / guide).read_text())


@dataclass
class Reader:
    """Has a folder, a shell in which `agent-runner` is found, and what was shown so far."""

    place: Path
    env: dict[str, str]
    said: list[str] = field(default_factory=list)

    def writes(self, text: str) -> str:
        """A block that begins with the name of its file; the name."""
        named = NAMED.match(text)
        assert named, f"a file without a name:\n{text}"
        (self.place / named[1]).write_text(text)
        return named[1]

    def runs(self, script: str) -> str:
        """What it printed; what the guide leaves open, an id, is the last one that was shown."""
        script = self.filled_in(script)
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self.place)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.place, env=own | self.env, timeout=100,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        self.said.append(done.stdout + done.stderr)
        return self.said[-1]

    def filled_in(self, text: str) -> str:
        for prefix in ("aex", "ses"):
            if f"{prefix}-..." in text:
                seen = re.findall(rf"\b{prefix}-[0-9a-z]{{26}}\b", "\n".join(self.said))
                assert seen, f"nothing has shown a {prefix}-... yet"
                text = text.replace(f"{prefix}-...", seen[-1])
        return text
