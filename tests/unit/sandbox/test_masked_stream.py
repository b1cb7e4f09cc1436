"""A text that comes in pieces is masked as the whole of it is, wherever it is cut."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.clients.masking.mask import SHOWN, Mask
from agent_runner.clients.masking.stream import MaskedStream

LONG = "".join(f"{n:02d}-" for n in range(60))
"""Longer than what the mask looks for at once."""
SECRETS = st.lists(
    st.one_of(
        st.text("ab", min_size=4, max_size=9),
        st.text("ab\n'\" é𝄞", min_size=4, max_size=12),
        st.sampled_from([LONG, "hunter2-long", "aaaa", "abab" * 20]),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def secrets_and_text(draw: st.DrawFn) -> tuple[list[str], str]:
    """The text is made of the secrets, of parts of them, and of what stands between."""
    secrets = draw(SECRETS)
    parts = [part for secret in secrets for part in (secret, secret[:-1], secret[1:], secret[: len(secret) // 2])]
    return secrets, "".join(draw(st.lists(st.sampled_from([*parts, "a", "b", " ", "é", ""]), max_size=5)))


def streamed(mask: Mask, pieces: Sequence[str]) -> list[str]:
    stream = MaskedStream(mask)
    return [*map(stream.feed, pieces), stream.rest()]


@settings(deadline=None)
@given(secrets_and_text())
def test_every_split_in_two_shows_what_the_whole_shows(given_: tuple[list[str], str]) -> None:
    """And every split into single characters; no prefix of what is seen is more than a prefix of it."""
    secrets, text = given_
    mask = Mask(secrets)
    whole = mask(text)
    for at in range(len(text) + 1):
        assert "".join(streamed(mask, [text[:at], text[at:]])) == whole
    assert "".join(streamed(mask, list(text))) == whole


@settings(deadline=None)
@given(secrets_and_text(), st.data())
def test_any_split_shows_what_the_whole_shows_and_holds_little_back(
    given_: tuple[list[str], str], data: st.DataObject
) -> None:
    """Into any number of pieces. What is held back is less than the longest thing that is looked for."""
    secrets, text = given_
    mask, stream, shown = Mask(secrets), MaskedStream(Mask(secrets)), ""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        shown += stream.feed(text[begin:end])
        assert len(stream._held) < max(mask.longest, 1)
        assert mask(text).startswith(shown)
    assert shown + stream.rest() == mask(text)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_secret_in_tokens_is_asterisks(size: int) -> None:
    """Also a long one, which is looked for in parts, and two that stand side by side."""
    text = f"It is {LONG} and hunter2-longhunter2-long."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    shown = "".join(streamed(Mask([LONG, "hunter2-long"]), pieces))
    assert shown == f"It is {SHOWN} and {SHOWN}{SHOWN}."


def test_what_looks_like_no_secret_is_shown_at_once() -> None:
    """Nothing of it is held back; the beginning of one is, until it turns out to be another word."""
    stream = MaskedStream(Mask(["hunter2-long"]))
    assert [stream.feed(piece) for piece in ("plain ", "words, ", "the hunt", "ing", " is on")] == [
        "plain ",
        "words, ",
        "the ",
        "hunting",
        " is on",
    ]
    assert stream.rest() == ""
