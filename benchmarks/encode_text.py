"""python -m benchmarks.encode_text: ids of real files by our compiled encoder, against libraries with one thread.

A vocabulary of 49,152 entries is learned from real files, others are encoded. All must give the same ids, or nothing
is printed. CPU-seconds, medians over repetitions in turn; our encoder remembers pieces, so it begins each turn with
nothing remembered. tiktoken and fastokens are compared too where they are installed.
"""

import importlib
import importlib.util
import os
import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from benchmarks.comparison import Comparison
from components.tokens.encoders import CompiledEncoder, as_text
from components.tokens.train_tokenizer import train_bpe
from model.special_tokens import STARCODER
from model.text_codec import bytes_of_letters

VOCABULARY = 49_152
"""StarCoder's (arXiv 2305.06161, section 5.1)."""
LEARNED_BYTES, ENCODED_BYTES = 24_000_000, 4_000_000
REPETITIONS = 3
_ENDINGS = {".py", ".pyi", ".c", ".h", ".hpp", ".js", ".json", ".md", ".rst", ".txt", ".yaml", ".html", ".css"}
_MAX_FILE_BYTES = 200_000

PATTERN = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
"""Single digits and GPT-2's pattern in one, as tiktoken takes it: space before a digit keeps its last character."""


def compare() -> list[Comparison]:
    """Ours against each peer on the same files; AssertionError if any of them gives another id."""
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    learned, encoded = _real_files()
    tokenizer = train_bpe(learned, VOCABULARY, 2)
    tokenizer.encode_special_tokens = True
    peers = _peers(tokenizer)
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    for _ in range(1 + REPETITIONS):
        ids: dict[str, Sequence[Any]] = {}
        for name, encode in {"ours": _ours(tokenizer), **peers}.items():
            started = time.process_time()
            ids[name] = encode(encoded)
            seconds[name].append(time.process_time() - started)
        for name in peers:
            assert all(map(np.array_equal, ids["ours"], ids[name])), f"{name} gives other ids"
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}  # the first turn warms up
    what = f"BPE encode, {tokenizer.get_vocab_size():,} entries, {len(encoded)} files"
    amount = sum(len(text.encode()) for text in encoded)
    return [Comparison(what, "bytes/s", amount, name, medians["ours"], medians[name]) for name in peers]


def _ours(tokenizer: Tokenizer) -> Callable[[Sequence[str]], Sequence[Any]]:
    encoder = CompiledEncoder(tokenizer)

    def encode(texts: Sequence[str]) -> Sequence[Any]:
        encoded = encoder.encode([as_text(text) for text in texts])
        return [encoded.of(number) for number in range(len(texts))]

    return encode


def _peers(tokenizer: Tokenizer) -> dict[str, Callable[[Sequence[str]], Sequence[Any]]]:
    peers: dict[str, Callable[[Sequence[str]], Sequence[Any]]] = {
        "tokenizers encode_batch_fast": lambda texts: [
            each.ids for each in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ]
    }
    if importlib.util.find_spec("tiktoken"):
        byte_of = bytes_of_letters()
        ranks = {
            bytes(byte_of[letter] for letter in token): number
            for token, number in tokenizer.get_vocab().items()
            if number >= len(STARCODER)
        }
        encoding: Any = importlib.import_module("tiktoken").Encoding(
            "starcoder", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )
        peers["tiktoken encode_ordinary"] = lambda texts: [encoding.encode_ordinary(text) for text in texts]
    if importlib.util.find_spec("fastokens"):
        encoder: Any = importlib.import_module("fastokens").Tokenizer.from_json_str(tokenizer.to_str())
        peers["fastokens encode_ordinary"] = lambda texts: [encoder.encode_ordinary(text).ids for text in texts]
    return peers


def _real_files() -> tuple[list[str], list[str]]:
    """Texts to learn from and others to encode: every fifth file of this Python and of what is installed for it."""
    learned: list[str] = []
    encoded: list[str] = []
    rooms = {id(learned): LEARNED_BYTES, id(encoded): ENCODED_BYTES}
    for number, text in enumerate(_texts()):
        part = encoded if number % 5 == 0 else learned
        if rooms[id(part)] > 0:
            part.append(text)
            rooms[id(part)] -= len(text.encode())
        if max(rooms.values()) <= 0:
            break
    return learned, encoded


def _texts() -> Iterator[str]:
    places = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "include")]
    paths = sorted({path for place in places for path in place.rglob("*") if path.suffix in _ENDINGS})
    for path in paths[:: max(1, len(paths) // 6_000)]:
        if path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES:
            try:
                yield path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
