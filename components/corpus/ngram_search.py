"""Find the n-grams of some texts in others: runs of so many tokens, whatever stands between the tokens.

N-grams are looked up by hash and then compared token by token, so nothing is found by a collision. An n-gram with few
different words is in every corpus (counting to thirteen, a loop in a loop) and is not looked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.corpus.ngrams import ngram_hashes
from components.corpus.string_search import Occurrences
from components.kernels import kernel, read_only

_LETTERS = b"abcdefghijklmnopqrstuvwxyz_"
_IS_LETTER = np.zeros(256, dtype=np.bool_)
_IS_LETTER[np.frombuffer(_LETTERS, dtype=np.uint8)] = True
_IS_TOKEN = _IS_LETTER.copy()
_IS_TOKEN[np.frombuffer(b"0123456789", dtype=np.uint8)] = True
_BITS_PER_NGRAM = 4
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # FNV-1a, 64 bits


class NgramSearch:
    """The n-grams of some folded texts that have enough different words, ready to be looked for."""

    origins: NDArray[np.int64]
    """[pairs, 2]: each n-gram with each text that it was taken from, in ascending order."""
    num_ngrams: int

    def __init__(self, texts: NDArray[np.uint8], starts: NDArray[np.int64], ngram_tokens: int, min_words: int) -> None:
        self._ngram_tokens = ngram_tokens
        self._texts = read_only(texts)
        hashes_N, firsts = ngram_hashes(texts, starts, ngram_tokens)
        spans_N, words_N = _describe(self._texts, read_only(starts), ngram_tokens, len(hashes_N))
        speaking = np.flatnonzero(words_N >= min_words)
        self._hashes, samples, ngrams = np.unique(hashes_N[speaking], return_index=True, return_inverse=True)
        self.num_ngrams = len(self._hashes)
        self._spans = spans_N[speaking][samples]
        texts_of_ngrams = np.searchsorted(firsts, speaking, side="right") - 1
        self.origins = np.unique(np.stack([ngrams, texts_of_ngrams], axis=1), axis=0)
        bits = max(10, (len(self._hashes) * _BITS_PER_NGRAM).bit_length())
        self._shift = np.uint64(64 - bits)
        sizes = np.bincount((self._hashes >> self._shift).astype(np.int64), minlength=2**bits)
        self._is_used = sizes > 0
        self._buckets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])

    def occurrences(self, texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> Occurrences:
        """Every occurrence in folded texts; takes what `components.tables.text_buffers` returns."""
        hashes_N, firsts = ngram_hashes(texts, starts, self._ngram_tokens)
        noticed = _notice(hashes_N, firsts, self._shift, self._is_used, self._buckets, self._hashes)
        spans = _verify(read_only(texts), read_only(starts), noticed, self._texts, self._spans)
        is_same = spans[:, 1] > 0
        rows, _, ngrams = noticed[is_same].T
        first, end = spans[is_same].T
        return Occurrences(rows, ngrams, first, end)


@kernel
def _next_token(texts: Any, position: Any, end: Any) -> Any:
    """Where the next token begins and ends; both `end` if there is none."""
    while position < end and not _IS_TOKEN[texts[position]]:
        position += 1
    first = position
    while position < end and _IS_TOKEN[texts[position]]:
        position += 1
    return first, position


@kernel
def _describe(texts: Any, starts: Any, ngram_tokens: Any, num_ngrams: Any) -> Any:
    """Of each n-gram: first byte and end, and how many different words (tokens with two letters in a row) it has."""
    spans_N = np.empty((num_ngrams, 2), dtype=np.int64)
    words_N = np.empty(num_ngrams, dtype=np.int64)
    count = 0
    # Of the last tokens, by turns: where each began, its hash (0: no word), how many tokens ago it stood before.
    begins = np.zeros(ngram_tokens, dtype=np.int64)
    words = np.zeros(ngram_tokens, dtype=np.uint64)
    for row in range(len(starts) - 1):
        words[:] = 0
        num_tokens = 0
        first, end = _next_token(texts, starts[row], starts[row + 1])
        while first < end:
            slot = num_tokens % ngram_tokens
            begins[slot] = first
            words[slot] = _word_hash(texts, first, end)
            num_tokens += 1
            if num_tokens >= ngram_tokens:
                spans_N[count, 0], spans_N[count, 1] = begins[num_tokens % ngram_tokens], end
                words_N[count] = _num_different(words)
                count += 1
            first, end = _next_token(texts, end, starts[row + 1])
    return spans_N, words_N


@kernel
def _word_hash(texts: Any, first: Any, end: Any) -> Any:
    """A hash of a token that has two letters in a row; 0 for any other."""
    value = _FNV_OFFSET
    is_word = False
    for position in range(first, end):
        value = (value ^ np.uint64(texts[position])) * _FNV_PRIME
        is_word |= position > first and _IS_LETTER[texts[position - 1]] and _IS_LETTER[texts[position]]
    return value if is_word else np.uint64(0)


@kernel
def _num_different(words: Any) -> Any:
    count = 0
    for index in range(len(words)):
        is_new = words[index] != 0
        for before in range(index):
            is_new &= words[before] != words[index]
        count += is_new
    return count


@kernel
def _notice(hashes_N: Any, firsts: Any, shift: Any, is_used: Any, buckets: Any, sought: Any) -> Any:
    """[n-grams, 3] that have a hash that is sought: row, number of the n-gram in the row, which one it should be."""
    noticed = np.empty((64, 3), dtype=np.int64)
    count = 0
    for row in range(len(firsts) - 1):
        for place in range(firsts[row], firsts[row + 1]):
            bucket = np.int64(hashes_N[place] >> shift)
            if not is_used[bucket]:
                continue
            for index in range(buckets[bucket], buckets[bucket + 1]):
                if sought[index] == hashes_N[place]:
                    if count == len(noticed):
                        longer = np.empty((2 * count, 3), dtype=np.int64)
                        longer[:count] = noticed
                        noticed = longer
                    noticed[count, 0], noticed[count, 1], noticed[count, 2] = row, place - firsts[row], index
                    count += 1
    return noticed[:count]


@kernel
def _end_if_same(texts: Any, first: Any, end: Any, others: Any, other_first: Any, other_end: Any) -> Any:
    """Where an n-gram ends if it has the tokens of the other one; else 0."""
    position = first
    other = other_first
    while other < other_end:
        first, position = _next_token(texts, position, end)
        other_first, other = _next_token(others, other, other_end)
        if position - first != other - other_first:
            return 0
        for place in range(position - first):
            if texts[first + place] != others[other_first + place]:
                return 0
    return position


@kernel
def _verify(texts: Any, starts: Any, noticed: Any, sought: Any, sought_spans: Any) -> Any:
    """[noticed, 2]: first byte and end in the row's text; 0 and 0 where only the hash is the same."""
    spans = np.zeros((len(noticed), 2), dtype=np.int64)
    index = 0
    while index < len(noticed):
        row = noticed[index, 0]
        num_tokens = 0
        first, end = _next_token(texts, starts[row], starts[row + 1])
        while index < len(noticed) and noticed[index, 0] == row:
            while num_tokens < noticed[index, 1]:
                first, end = _next_token(texts, end, starts[row + 1])
                num_tokens += 1
            sought_first, sought_end = sought_spans[noticed[index, 2]]
            ngram_end = _end_if_same(texts, first, starts[row + 1], sought, sought_first, sought_end)
            if ngram_end > 0:
                spans[index, 0], spans[index, 1] = first - starts[row], ngram_end - starts[row]
            index += 1
    return spans
