"""docs/README.md is a full catalogue of docs/, and every document has a name in lower case with hyphens."""

import re
import sys

from checks.markdown import links
from checks.tree import ROOT, files, shown

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.md")


def problems() -> list[str]:
    """One line per document that the index does not link to, or that is called something else."""
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(INDEX.read_text()) if ":" not in link}
    documents = [path for path in files(".md") if path.is_relative_to(DOCS) and path != INDEX]
    found = [f"{shown(path)} is not in docs/README.md" for path in documents if path not in listed]
    found += [
        f"{shown(path)}: the name must be lower-case-with-hyphens.md"
        for path in documents
        if path.name != "README.md" and not NAME.fullmatch(path.name)
    ]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or None)
