"""Ids of real files by our compiled encoder, against tokenizers, tiktoken and fastokens.

A vocabulary of 49,152 entries is learned from some files, others are encoded. All must give the same ids, or nothing is
printed. The texts lie in memory, as UTF-8 for ours and as strings for the peers; each gives ids text by text. Ours
remembers pieces, so each turn begins with nothing remembered.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from benchmarks.comparison import Comparison, peer_module, take_turns
from benchmarks.source_files import SourceFile, megabytes, source_files
from components.tokens.encoders import CompiledEncoder
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import STARCODER
from model.text_codec import bytes_of_letters

VOCABULARY = 49_152
"""StarCoder's (arXiv 2305.06161, section 5.1)."""
LEARNED_BYTES, ENCODED_BYTES = 24_000_000, 6_000_000
REPETITIONS = 3

PATTERN = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
"""Single digits and GPT-2's pattern in one, as tiktoken takes it: space before a digit keeps its last character."""

Encode = Callable[[], Sequence[Any]]


def compare() -> list[Comparison]:
    """A row for each peer; AssertionError if any of them gives another id."""
    files = source_files(LEARNED_BYTES + ENCODED_BYTES)
    learned, encoded = divided(files)
    tokenizer = learn([file.content.decode() for file in learned], VOCABULARY)
    works = {
        "ours": our_work(tokenizer, encoded),
        "tokenizers encode_batch_fast": library_work(tokenizer, encoded),
        "tiktoken encode_ordinary": tiktoken_work(tokenizer, encoded),
        "fastokens encode_ordinary": fastokens_work(tokenizer, encoded),
    }
    measured = dict(zip(works, take_turns(list(works.values()), REPETITIONS), strict=True))
    ours = measured.pop("ours")
    for name, each in measured.items():
        assert all(map(np.array_equal, ours.result, each.result)), f"{name} gives other ids"
    what = f"BPE encode, {tokenizer.get_vocab_size():,} entries, {len(encoded):,} files, same ids"
    return [
        Comparison(what, "MB/s", megabytes(encoded), name, ours.seconds, each.seconds)
        for name, each in measured.items()
    ]


def divided(files: Sequence[SourceFile]) -> tuple[list[SourceFile], list[SourceFile]]:
    """Files to learn from, and the others, which are every so many."""
    step = (LEARNED_BYTES + ENCODED_BYTES) // ENCODED_BYTES
    return [file for number, file in enumerate(files) if number % step], list(files[::step])


def learn(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    tokenizer = train_bpe(texts, vocabulary, 2)
    tokenizer.encode_special_tokens = True
    return tokenizer


def our_work(tokenizer: Tokenizer, files: Sequence[SourceFile]) -> Encode:
    encoders = iter([CompiledEncoder(tokenizer) for _ in range(1 + REPETITIONS)])
    texts = [np.frombuffer(file.content, np.uint8) for file in files]

    def run() -> Sequence[Any]:
        encoded = next(encoders).encode(texts)
        return [encoded.of(number) for number in range(len(texts))]

    return run


def library_work(tokenizer: Tokenizer, files: Sequence[SourceFile]) -> Encode:
    texts = [file.content.decode() for file in files]
    return lambda: [each.ids for each in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def tiktoken_work(tokenizer: Tokenizer, files: Sequence[SourceFile]) -> Encode:
    byte_of = bytes_of_letters()
    ranks = {
        bytes(byte_of[letter] for letter in token): number
        for token, number in tokenizer.get_vocab().items()
        if number >= len(STARCODER)
    }
    encoding = peer_module("tiktoken").Encoding("starcoder", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    texts = [file.content.decode() for file in files]
    return lambda: [encoding.encode_ordinary(text) for text in texts]


def fastokens_work(tokenizer: Tokenizer, files: Sequence[SourceFile]) -> Encode:
    encoder = peer_module("fastokens").Tokenizer.from_json_str(tokenizer.to_str())
    texts = [file.content.decode() for file in files]
    return lambda: [encoder.encode_ordinary(text).ids for text in texts]
