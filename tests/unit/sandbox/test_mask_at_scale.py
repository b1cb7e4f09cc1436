"""The mask costs what its text weighs, whatever the secrets are, and holds nobody up while it looks."""

import random
import statistics
import string
import threading
import time
from collections.abc import Callable

import pytest

from agent_runner.clients.masking import mask as masking
from agent_runner.clients.masking.mask import IN_A_THREAD, SHOWN, Mask
from agent_runner.status.log.bounds import MAX_SECRETS, MAX_SECRETS_BYTES

EACH = MAX_SECRETS_BYTES // MAX_SECRETS
WORDS = random.Random(7)
MOST = ["".join(WORDS.choices(string.ascii_letters + "'\"$ ", k=EACH)) for _ in range(MAX_SECRETS)]
ONE_LONG = ["a" * MAX_SECRETS_BYTES]
NESTED = ["a" * length for length in range(4, 250)]


def cost(work: Callable[[], object]) -> float:
    """CPU seconds of this process, the median of three."""
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return statistics.median(seconds)


@pytest.mark.parametrize("secrets", [MOST, ONE_LONG, NESTED], ids=["most", "one-long", "nested"])
@pytest.mark.parametrize("text", ["a" * 20_000, "abcdefgh '$ \n" * 2_000], ids=["the-same", "prose"])
def test_four_times_the_text_costs_about_four_times_as_much(secrets: list[str], text: str) -> None:
    """Linear in the text: also where it begins like a secret at each of its characters."""
    mask = Mask(secrets)
    mask(text)
    ratio = cost(lambda: mask(text * 4)) / max(cost(lambda: mask(text)), 1e-4)
    assert ratio < 10


def test_two_hundred_secrets_cost_about_what_one_costs() -> None:
    """Not linear in the number of secrets: one pass looks for all of them."""
    text = "".join(WORDS.choices(string.ascii_lowercase + " \n", k=1_000_000))
    one, most = Mask(MOST[:1]), Mask(MOST)
    assert cost(lambda: most(text)) < 30 * max(cost(lambda: one(text)), 2e-3)


def test_others_have_their_turn_while_a_large_text_is_masked() -> None:
    """A thread that does nothing but wake up is held up for a small part of the time that the mask takes."""
    mask, text = Mask(MOST), "".join(WORDS.choices(string.ascii_letters, k=2_000_000)) * 8
    gaps: list[float] = []
    done = threading.Event()

    def wake() -> None:
        last = time.monotonic()
        while not done.wait(0.001):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    waker = threading.Thread(target=wake)
    waker.start()
    begun = time.monotonic()
    mask(text)
    took = time.monotonic() - begun
    done.set()
    waker.join()
    assert len(gaps) > 5
    assert max(gaps) < took / 2


def test_secrets_that_overlap_are_masked_whole() -> None:
    """Where the end of one is the beginning of another, no part of either is left."""
    assert Mask(["alpha-beta", "beta-gamma"])("alpha-beta-gamma") == SHOWN
    assert Mask(["abcd", "abcdefgh", "ghijklmn"])("xabcdefghijklmnx") == f"x{SHOWN}x"


def test_secrets_side_by_side_are_two() -> None:
    """What only touches is not run together."""
    assert Mask(["first-secret", "second-secret"])("first-secretsecond-secret") == SHOWN * 2


@pytest.mark.parametrize("before", [0, 1, 63, 4_000, 4_095, 65_500, 65_535, 65_536, 131_071])
@pytest.mark.parametrize("length", [4, 48, 49, 97, 5_000])
def test_a_secret_is_found_wherever_it_stands(before: int, length: int) -> None:
    """Whatever the pieces in which a text is looked through."""
    secret = "".join(WORDS.choices("äöü€abc0123456789😀", k=length - 1)) + "x"
    text = "€" + "." * before + secret + "," * 70_000 + secret
    assert Mask([secret])(text) == "€" + "." * before + SHOWN + "," * 70_000 + SHOWN


def test_text_that_is_no_unicode_is_masked_too() -> None:
    """Half a pair of surrogates stays what it is, beside a secret and in one."""
    assert Mask(["hunter2"])("\ud800 hunter2 \udfff") == f"\ud800 {SHOWN} \udfff"
    assert Mask(["hunter\udc80two"])("a hunter\udc80two") == f"a {SHOWN}"


@pytest.mark.parametrize("seed", range(200))
def test_exactly_what_is_secret_is_masked(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Against a plain search for every secret at every place: what overlaps is one, all else stays."""
    chosen = random.Random(seed)
    monkeypatch.setattr(masking, "LOOK_BYTES", 37)
    secrets = ["".join(chosen.choices("abä1", k=chosen.choice([4, 5, 6, 9, 30]))) for _ in range(chosen.randint(1, 6))]
    text = "".join(chosen.choice([*secrets, *"abä1.", secrets[0][:5]]) for _ in range(chosen.randint(1, 40)))
    forms = {form for secret in secrets for form in masking._forms(secret) if len(form) >= masking.MIN_LENGTH}
    spans = sorted((at, at + len(f)) for f in forms for at in range(len(text)) if text.startswith(f, at))
    shown, done = "", 0
    for number, (begin, end) in enumerate(spans):
        if number == 0 or begin >= done:
            shown += text[done:begin] + SHOWN
        done = max(done, end)
    assert Mask(secrets)(text) == shown + text[done:]


async def test_a_large_value_is_masked_in_a_thread() -> None:
    """The loop goes on meanwhile; what is small costs no thread."""
    threads: list[int] = []

    class Seen(Mask):
        def within(self, value: object) -> object:
            threads.append(threading.get_ident())
            return super().within(value)

    mask = Seen(["hunter2"])
    large = {"a": ["hunter2", "x" * IN_A_THREAD]}
    assert (await mask.within_apart(large))["a"][0] == SHOWN
    assert threading.get_ident() not in threads
    threads.clear()
    assert await mask.within_apart({"a": "hunter2"}) == {"a": SHOWN}
    assert set(threads) == {threading.get_ident()}


def test_what_is_shorter_than_every_secret_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token, an id: the finder gives the interpreter away each time, and a busy worker gets it back late."""
    looked: list[bytes] = []
    look = Mask._matches

    def looks(self: Mask, data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
        looked.append(data)
        return look(self, data, begin, end)

    monkeypatch.setattr(Mask, "_matches", looks)
    mask = Mask(["hunter2", "a-longer-secret"])
    assert (mask("hunter"), looked) == ("hunter", [])
    assert mask("hunter2") == SHOWN
    assert looked
