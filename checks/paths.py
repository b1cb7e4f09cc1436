"""Every file or folder of ours that a document names in code quotes exists.

Looked at are quotes that begin with one of our top-level folders and are nothing but a path.
"""

import re
import sys
from pathlib import Path

from checks.tree import ROOT, files, shown

FOLDERS = "app|bench|checks|clients|deploy|docs|proto|src|status|stubs|tasks|tests"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)`")


def problems(path: Path) -> list[str]:
    """One line per path that is not there."""
    return [
        f"{shown(path)}: {named} does not exist"
        for named in PATH.findall(path.read_text())
        if not (ROOT / named).exists()
    ]


if __name__ == "__main__":
    sys.exit("\n".join(line for path in files(".md") for line in problems(path)) or None)
