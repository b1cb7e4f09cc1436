"""What a command printed, within bounds."""

from pathlib import Path

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.output import Output


def test_a_file_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    """Head, tail and size are shown, and the note says why the whole is nowhere."""
    (tmp_path / "taken").write_text("no folder")
    output = Output(
        limit=100, mask=Mask(), create=lambda: (tmp_path / "taken" / "output.txt").open("wb"), shown_path="/output.txt"
    )
    for n in range(1000):
        output.feed(f"line {n}\n".encode())
    output.close()
    text = output.text()
    assert output.truncated
    assert text.startswith("line 0\n")
    assert text.endswith("line 999\n")
    assert f"of {output.size} bytes cut here; the full output could not be kept: " in text
    assert "/output.txt" not in text


def test_the_limit_holds_for_the_text_with_its_note(tmp_path: Path) -> None:
    """Whoever cuts at the same limit afterwards cuts nothing, though the tool adds a line of its own."""
    output = Output(
        limit=10_000, mask=Mask(), create=lambda: (tmp_path / "output.txt").open("wb"), shown_path="/output.txt"
    )
    for n in range(10_000):
        output.feed(f"line {n}\n".encode())
    assert len(output.text().encode()) + len("\n[Command succeeded with exit code 0]") < 10_000
