"""What a caller's YAML costs grows with its text: nothing in it stands for more than what is written."""

import tracemalloc

import pytest

from agent_runner.clients.contract.plain_yaml import MAX_DEPTH, read_yaml
from agent_runner.clients.skills.archive import SkillArchiveError, read_skill_md

TEN = ", ".join(["*a"] * 10)


def test_plain_data_is_read() -> None:
    """Mappings, lists, texts of several lines, numbers; nothing is nothing."""
    assert read_yaml("name: a\nlist: [1, 2.5, null]\ntext: |\n  one\n  two\n'<<': 1\n") == {
        "name": "a", "list": [1, 2.5, None], "text": "one\ntwo\n", "<<": 1
    }  # fmt: skip
    assert read_yaml("") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a x\nb: *a", r"line 2 has an alias \(\*a\)"),
        (f"a: &a {{k: v}}\nb: [{TEN}]", "alias"),
        ("<<: {a: 1}\nb: 2", r"line 1 has a merge key \(<<\)"),
        (f"{'[' * (MAX_DEPTH + 1)}{']' * (MAX_DEPTH + 1)}", f"deeper than {MAX_DEPTH}"),
        ("- " * 5000 + "x", f"deeper than {MAX_DEPTH}"),
        ("a: !!python/name:os.system", "python/name"),
        ("a: [", "expected"),
        ("a: " + "9" * 10_000, "digit"),
    ],
)
def test_what_is_more_than_its_text_is_refused(text: str, says: str) -> None:
    """With its line, where a line can be named; a ValueError of one line, whatever it is."""
    with pytest.raises(ValueError, match=says) as refused:
        read_yaml(text)
    assert "\n" not in str(refused.value)


def test_nothing_is_built_of_what_is_refused() -> None:
    """Nine lists of nine aliases each would be a hundred million values to whoever walks through them."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    tracemalloc.start()
    try:
        with pytest.raises(SkillArchiveError, match=r"front matter.* alias"):
            read_skill_md("---\n" + "\n".join(lines) + "\n---\nbody")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
