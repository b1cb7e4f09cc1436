"""Secrets are replaced in every form that a tool is likely to print."""

import json

import pytest

from agent_runner.clients.masking.mask import SHOWN, Mask, MaskedStream


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
        ("it's\tone", repr({"K": "it's\tone"})),
        ("it's one", """export K='it'"'"'s one'"""),
        ('a "b" $c', r'declare -x K="a \"b\" \$c"'),
        ("'q' 0123456789ab\tx", r"""ls: cannot access ''\''q'\'' 0123456789ab'$'\t''x'"""),
    ],
)
def test_a_secret_is_masked(secret: str, text: str) -> None:
    """As it is, escaped in JSON, by a shell and in Python, quoted in a URL, line by line, and in parts."""
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


def test_the_words_in_credentials_are_no_secrets() -> None:
    """Of a value with quotes only long parts with a digit are masked by themselves."""
    mask = Mask(['{"type": "service_account", "private_key_id": "0123456789abcdef"}'])
    assert mask("the service_account 0123456789abcdef") == f"the service_account {SHOWN}"


def test_a_structure_is_masked_within() -> None:
    """Texts in lists and objects, however deep; what holds none is the same object."""
    mask = Mask(["hunter2"])
    number = object()
    given = {"a": ["hunter2", {"b": ("x hunter2", number)}], "n": 1}
    assert mask.within(given) == {"a": [SHOWN, {"b": (f"x {SHOWN}", number)}], "n": 1}
    assert mask.within(None) is None


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
def test_what_comes_in_pieces_is_masked_as_a_whole(size: int) -> None:
    """Wherever the pieces begin, also within a secret, a long one and bytes that are no text among them."""
    mask = Mask(["s3cret-of-the-run", "x1" * 400])
    data = b"a s3cret-of-the-run\xff\xfe s3cret-of-the-run" + b"." * 500 + b"x1" * 400 + b" end s3cret-of-the-r"
    stream = MaskedStream(mask)
    told = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert told + stream.feed(b"", last=True) == mask.of_bytes(data)
    assert b"s3cret-of-the-run" not in mask.of_bytes(data)
    assert mask.of_bytes(data).endswith(b" end s3cret-of-the-r")
