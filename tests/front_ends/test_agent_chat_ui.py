"""Agent Chat UI itself, in a browser, in front of a whole stack of ours."""

from pathlib import Path

import pytest

from docs.pictures import __main__ as pictures
from docs.pictures.browser import BrowserMissing
from docs.pictures.chat_ui import CHECKOUT, GRAPHS, checkout, take_conversation


@pytest.mark.skipif(checkout() is None, reason=f"its repository is not ours to keep: {CHECKOUT}=/path/to/a/built/one")
@pytest.mark.timeout(300)
def test_a_conversation_with_a_question(tmp_path: Path) -> None:
    """A message, a tool call with its result, a call that waits for a person, the approval, the answer."""
    picture = tmp_path / "seen.png"
    with pictures.stack(AGENT_RUNNER_GRAPHS=str(GRAPHS)) as at:
        try:
            take_conversation(checkout() or tmp_path, at.http, pictures.KEY, picture)
        except BrowserMissing as missing:
            pytest.skip(str(missing))
    assert picture.read_bytes().startswith(b"\x89PNG")
