import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import byte_model
from components.evaluation.byte_model import ByteModel

documents = st.lists(st.binary(max_size=40) | st.text("ab\n", max_size=60).map(str.encode), max_size=5)


class _SlowModel:
    """The formula of the module's docstring, read aloud with dictionaries."""

    def __init__(self, texts: list[bytes], order: int) -> None:
        self.order = order
        grams: dict[bytes, int] = defaultdict(int)
        for text in texts:
            padded = bytes(order) + text
            for place in range(len(text)):
                grams[padded[place : place + order + 1]] += 1
        self.levels = [dict(grams)]
        for _ in range(order):
            shorter: dict[bytes, int] = defaultdict(int)
            for gram in self.levels[0]:
                shorter[gram[1:]] += 1
            self.levels.insert(0, dict(shorter))
        self.discounts = [self._discounts(list(level.values())) for level in self.levels]

    @staticmethod
    def _discounts(counts: list[int]) -> tuple[float, float, float]:
        n1, n2, n3, n4 = (counts.count(times) for times in (1, 2, 3, 4))
        if not n1 * n2 * n3 * n4:
            return 0.5, 0.5, 0.5
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return found if all(0 < d < k for d, k in zip(found, (1, 2, 3), strict=True)) else (0.5, 0.5, 0.5)

    def probability(self, context: bytes, byte: int) -> float:
        context = (bytes(self.order) + context)[len(context) :]
        result = 1 / 256
        for length in range(self.order + 1):
            tail = context[self.order - length :]
            followers = {gram[-1]: n for gram, n in self.levels[length].items() if gram[:-1] == tail}
            if not followers:
                continue
            discount = {b: self.discounts[length][min(n, 3) - 1] for b, n in followers.items()}
            kept = followers.get(byte, 0) - discount.get(byte, 0.0)
            result = (kept + sum(discount.values()) * result) / sum(followers.values())
        return result


@settings(deadline=None)
@given(documents, st.integers(0, 4), st.binary(max_size=6) | st.text("ab\n", max_size=6).map(str.encode))
def test_probabilities_are_positive_and_sum_to_one(texts: list[bytes], order: int, context: bytes) -> None:
    probabilities = ByteModel(texts, order).next_byte_probabilities(context)
    assert (probabilities > 0).all()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(documents, st.integers(0, 4), st.text("ab\nc", max_size=20).map(str.encode))
def test_it_agrees_with_the_slow_reference(texts: list[bytes], order: int, held_out: bytes) -> None:
    slow = _SlowModel(texts, order)
    bits = -sum(math.log2(slow.probability(held_out[:place], byte)) for place, byte in enumerate(held_out))
    assert ByteModel(texts, order).code_length_bits(held_out) == pytest.approx(bits, abs=1e-9)


def test_it_agrees_with_the_slow_reference_where_discounts_are_estimated() -> None:
    rng = np.random.default_rng(3)
    texts = [bytes(rng.choice(list(b"abcdefgh \n"), p=np.arange(1, 11) / 55, size=3000).tolist())]
    slow, quick = _SlowModel(texts, 3), ByteModel(texts, 3)
    assert slow.discounts[3] != (0.5, 0.5, 0.5)
    for context in (b"", b"a", b"abc", b"zzz", b"hh\n"):
        probabilities = quick.next_byte_probabilities(context)
        for byte in b"abh\nz":
            assert probabilities[byte] == pytest.approx(slow.probability(context, byte), rel=1e-12)


def test_the_code_length_is_the_sum_over_bytes_in_their_contexts() -> None:
    model = ByteModel([b"hello world, hello there"], 3)
    text = b"hello, thor"
    bits = [-np.log2(model.next_byte_probabilities(text[:place])[byte]) for place, byte in enumerate(text)]
    assert model.code_length_bits(text) == pytest.approx(sum(bits))
    assert model.code_length_bits(b"") == 0.0


def test_an_untrained_model_spends_eight_bits_per_byte() -> None:
    assert ByteModel([], 3).code_length_bits(b"anything") == pytest.approx(64.0)


def test_counting_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [bytes([65 + n % 7, 66, 67 + n % 3]) * (n % 11) for n in range(60)]
    whole = ByteModel(texts, 3).code_length_bits(b"ABCABD" * 20)
    monkeypatch.setattr(byte_model, "_CHUNK_BYTES", 17)
    assert ByteModel(texts, 3).code_length_bits(b"ABCABD" * 20) == whole


def test_longer_contexts_code_regular_text_in_fewer_bits() -> None:
    texts = [b"for i in range(10):\n    print(i)\n" * 30, b"while True:\n    break\n" * 30]
    lengths = [ByteModel(texts, order).code_length_bits(texts[0]) for order in range(5)]
    assert lengths == sorted(lengths, reverse=True)


def test_an_order_that_does_not_fit_an_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="order 8"):
        ByteModel([], 8)
