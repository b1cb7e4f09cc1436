"""Every link of our Markdown files that stays inside the repository leads somewhere, to a heading that exists.

Links to other sites are not followed: the check needs no network.
"""

import sys
from pathlib import Path
from urllib.parse import unquote

from checks.markdown import anchors, links
from checks.tree import files, shown


def problems(path: Path) -> list[str]:
    """One line per link of this file that leads nowhere."""
    return [
        f"{shown(path)}: {link} {why}"
        for link in links(path.read_text())
        if not link.startswith(("http://", "https://", "mailto:")) and (why := _broken(path, link))
    ]


def _broken(path: Path, link: str) -> str:
    place, _, fragment = link.partition("#")
    target = path.parent / unquote(place) if place else path
    if not target.exists():
        return "does not exist"
    if fragment and (target.suffix != ".md" or fragment not in anchors(target)):
        return "has no such heading"
    return ""


if __name__ == "__main__":
    sys.exit("\n".join(line for path in files(".md") for line in problems(path)) or None)
