"""The docs site: every page can be reached, and what builds it says so strictly."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from checks.tree import ROOT, shown
from docs import website


def navigation(entries: list[Any]) -> Iterator[str]:
    """The pages that a part of the navigation names, in order."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from [below] if isinstance(below, str) else navigation(below)


def test_every_page_can_be_reached() -> None:
    """The navigation names each page of the repository once, and nothing else."""
    named = list(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(named) == sorted(shown(page) for page in website.pages())


@pytest.mark.skipif(not website.MKDOCS.exists(), reason="`make site` has not set up what builds it")
def test_the_site_is_built() -> None:
    """A strict build ends without a word of warning, and no page of it loads anything from another machine."""
    built = subprocess.run([sys.executable, "docs/website.py"], cwd=ROOT, capture_output=True, text=True)
    assert (built.returncode, "WARNING" in built.stderr) == (0, False), built.stderr
    assert (website.HTML / "index.html").exists()
    assert website.loaded_from_elsewhere() == []


def test_what_a_page_loads_is_seen() -> None:
    """Scripts, pictures and styles of other machines are found in a page, and links to follow are not."""
    page = (
        '<link href="https://a.example/x.css"><script src=//b.example/y.js></script><img alt="" src="https://c.example/">'
        '<a href="https://d.example/">there</a><script src="assets/z.js"></script><pre class="mermaid">'
    )
    found = [url or what for url, what in website.LOADED.findall(page)]
    assert found == ["https://a.example/x.css", "//b.example/y.js", "https://c.example/", "mermaid"]
