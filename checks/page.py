"""The shipped live page is that of its sources: it names their digest, and its own.

Neither needs Node. `python -m checks.page --rebuild` builds the page anew (npm, Node) and compares every byte.
"""

import hashlib
import re
import sys
import tempfile
from pathlib import Path

from checks.tree import ROOT, shown

SOURCES = ROOT / "app" / "page"
BUILT = ROOT / "app" / "server" / "http" / "static" / "index.html"
_STAMP = re.compile(rb'<meta name="sources" content="([0-9a-f]*)">')
_LOCK = SOURCES / "package-lock.json"
# An address in the lock file would send every builder to one place of downloads.
_ADDRESS = re.compile(r'"resolved"|registry')


def digest(sources: Path, page: bytes) -> str:
    """Of every source with its path, and of the page without its stamp."""
    found = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.is_file() and "node_modules" not in path.parts):
        content = path.read_bytes()
        found.update(f"{path.relative_to(sources).as_posix()} {len(content)}\n".encode() + content)
    found.update(_STAMP.sub(b"", page))
    return found.hexdigest()


def stamped(sources: Path, page: bytes) -> bytes:
    """The page with the digest in its head."""
    mark = f'<meta name="sources" content="{digest(sources, page)}">'.encode()
    return _STAMP.sub(lambda _: mark, page, count=1)


def problems(sources: Path = SOURCES, built: Path = BUILT) -> list[str]:
    """One line per thing that is not as it should be."""
    page = built.read_bytes()
    found = []
    stamp = _STAMP.search(page)
    if stamp is None or stamp[1].decode() != digest(sources, page):
        found.append(f"{built.name} is not the build of the sources in {sources.name}/: run `make page`")
    if _ADDRESS.search((sources / _LOCK.name).read_text()):
        found.append(f"{_LOCK.name} names where packages are downloaded: npm's omit-lockfile-registry-resolved is off")
    return found


def rebuilt() -> list[str]:
    """Builds the page in a folder of its own and compares it with the shipped one."""
    from deploy.page import build

    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        same = build(SOURCES, Path(folder)) == BUILT.read_bytes()
    return [] if same else [f"{shown(BUILT)} is not what `make page` builds from {shown(SOURCES)}"]


if __name__ == "__main__":
    sys.exit("\n".join(problems() + (rebuilt() if "--rebuild" in sys.argv else [])) or None)
