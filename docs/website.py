"""Builds the docs site into build/site/html, strictly: `make site`.

The pages are the Markdown files of this repository, and whatever they link to, at the same places as here: a link that
works on a code host works on the site. A page that the navigation does not name, and a link or an anchor that leads
nowhere, end the build. Nothing is downloaded, neither by the build nor by the pages.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from checks.markdown import links
from checks.tree import ROOT, files

PAGES = ROOT / "build" / "site" / "pages"
HTML = ROOT / "build" / "site" / "html"
MKDOCS = ROOT / ".venv" / "docs" / "bin" / "mkdocs"
ELSEWHERE = re.compile(r"[a-z]+:")
# What a page would load while somebody reads it; links that are only followed by a click are no matter here.
# (The theme draws a diagram of this class with a program that it fetches.)
LOADED = re.compile(
    r"""(?:<(?:script|img|iframe|source)[^>]+src=|<link[^>]+href=)["']?((?:https?:)?//[^"'\s>]+)|class="(mermaid)\""""
)


def pages() -> list[Path]:
    """The Markdown files that are pages; those of the forge's forms are not."""
    return [path for path in files(".md") if not path.relative_to(ROOT).parts[0].startswith(".")]


def linked(page: Path) -> Iterator[Path]:
    """The files of this repository, other than pages, that a page shows or links to."""
    for link in links(page.read_text()):
        target = (page.parent / unquote(link.partition("#")[0])).resolve()
        if not ELSEWHERE.match(link) and target.suffix != ".md" and target.is_file():
            yield target


def gather() -> None:
    """Copies the pages and what they link to; what was there before is gone."""
    shutil.rmtree(PAGES, ignore_errors=True)
    found = pages()
    for path in {*found, *(target for page in found for target in linked(page))}:
        copy = PAGES / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def loaded_from_elsewhere() -> list[str]:
    """One line per thing that a built page would fetch from another machine."""
    found = []
    for page in sorted(HTML.rglob("*.html")):
        found += [f"{page.relative_to(HTML)} loads {url or what}" for url, what in LOADED.findall(page.read_text())]
    return found


def main() -> int:
    """Exit status 0 where the site was built and stands alone."""
    gather()
    # Not --quiet: what is not logged is not counted, and strict would mean nothing.
    command = [str(MKDOCS), "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    # The theme announces the end of its maintenance at each build; decision 0015 knows of it.
    built = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "true"}, check=False)
    if built.returncode:
        return built.returncode
    for line in (problems := loaded_from_elsewhere()):
        print(line, file=sys.stderr)
    if not problems:
        print(f"{HTML / 'index.html'}: {len(pages())} pages")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
