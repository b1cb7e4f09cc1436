"""Builds the live page from `app/page/` into the server's static files: `make page`. It needs Node and npm.

The packages lie in `build/page/`, never beside the sources, so that no tool that walks this repository meets them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from checks.page import BUILT, SOURCES, stamped
from checks.tree import ROOT, shown

FOLDER = ROOT / "build" / "page"


class NotBuilt(Exception):
    """A tool is missing, or it refused; the text says which."""


def build(sources: Path, folder: Path) -> bytes:
    """The page, stamped. `folder` keeps the packages for the next time. NotBuilt where that is not possible."""
    if shutil.which("npm") is None:
        raise NotBuilt("building the page needs Node 20.19 or later with npm; using it needs neither")
    for path in [path for path in folder.glob("*") if path.name != "node_modules"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (sources / "package-lock.json").stat().st_mtime:
        _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder)
    _run("npm", "run", "--silent", "types", folder=folder)
    _run("npm", "run", "--silent", "build", folder=folder)
    return stamped(sources, (folder / "dist" / "index.html").read_bytes())


def _run(*command: str, folder: Path) -> None:
    ran = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        raise NotBuilt(f"{' '.join(command)} in {folder}:\n{ran.stdout}")


def main() -> int:
    try:
        page = build(SOURCES, FOLDER)
    except NotBuilt as error:
        print(error, file=sys.stderr)
        return 1
    BUILT.write_bytes(page)
    print(f"{shown(BUILT)}: {len(page):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
