"""Secrets are replaced in every form that a tool is likely to print."""

import json

import pytest

from clients.masking import SHOWN, Mask


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2-long", "a hunter2-long b"),
        ('pass"wo\\rd\n', json.dumps({"k": 'pass"wo\\rd\n'})),
        ("schlüssel", json.dumps("schlüssel")),
        ("schlüssel", json.dumps("schlüssel", ensure_ascii=False)),
        ("p@ss/word", "postgres://u:p%40ss%2Fword@h"),
        ("-----BEGIN-----\nMIIabcdef\n-----END-----", "3: MIIabcdef"),
        ("with-newline\n", "with-newline"),
    ],
)
def test_a_secret_is_masked(secret: str, text: str) -> None:
    """As it is, escaped in JSON, quoted in a URL, and line by line."""
    masked = Mask([secret])(text)
    assert SHOWN in masked
    assert secret not in masked


def test_longer_secrets_are_masked_first() -> None:
    """A secret that contains another one leaves no rest behind."""
    assert Mask(["abcd", "abcdefgh"])("xabcdefghx abcdx") == f"x{SHOWN}x {SHOWN}x"


def test_short_values_and_no_values_change_nothing() -> None:
    """Values shorter than 4 characters are words, not secrets."""
    assert Mask(["on", "1", "", "abc"])("1 is on, abc") == "1 is on, abc"
    assert not Mask([])
    assert Mask(["long enough"])
