"""Two encoders that give the same ids: our compiled one, and the library `tokenizers`, which is its measure.

The compiled one is used only after both have encoded a sample of the corpus and a set of hard strings alike. So which
of them ran says how long it took and nothing about the ids.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from components.tokens import fast_encode
from components.tokens.train_tokenizer import piece_splitter
from model.text_codec import bytes_of_letters

Text = NDArray[np.uint8]
"""UTF-8 bytes."""

_ASKED_CODES = (range(0xD800), range(0xE000, 0x34000), range(0xE0000, 0xE0200))
"""Unicode has letters, numerals and spaces here and nowhere else; surrogates are no characters."""

HARD_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "  x = 1234567890  +  0.5e-10\n\n\n    return  42\t7 \r\n  8",
    "don't we'll they've I'm you're he'd it's 'tis 'S 'LL ''s 'r 'v 'l x'  't",
    "Stra\u00dfe na\u00efve \u00df \u4f60\u597d\uff0c\u4e16\u754c \u0645\u0631\u062d\u0628\u0627 \U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "e\u0301 \u0301 \u0301\u0301x 1\u0301 \u093f\u200d\u0915\u094d",
    "\u0661\u0662\u0663 \u2167 \u00bd\u00b2\u2460 \u3007\u5341 x\u00b2 \u2082 \U0001d7d9\U0001d7da",
    "a\r\nb\rc\n\rd\x0b\x0ce\x85f\u2028g\u2029h\u00a0i\u2003j\u3000k\u200bl\ufeffm\u180en",
    "\x00\x00a\x00 \x00\n\x01\x1b[0m\x7f\x80\x9f",
    " \u00a0x \u00a0 1 \u3000\u3000y\t\tz \t 9",
    "<|endoftext|><fim_prefix><file_sep><reponame>\ufdd0issue_start\ufdd1",
    "_____----====////####****    {}[]()<>;:,.!?@$%^&~`|\\\"'",
    "0x1F 1_000 3.14 v2beta3 \u0967x\u0967 1a2b3c",
    *(2_500 * run for run in ("a", " ", "\n", "=", "7", "\u4e2d", "\u0301", "ab", " \n", "\r\n", "a1", "\t ")),
)
"""What a pattern or a table of characters gets wrong first."""


class Encoded(NamedTuple):
    """The ids of several texts, one after the other."""

    ids: NDArray[np.uint16]
    offsets: NDArray[np.int64]
    """[texts + 1]: where the ids of each text begin and end."""

    def of(self, number: int) -> NDArray[np.uint16]:
        """The ids of one text."""
        return self.ids[self.offsets[number] : self.offsets[number + 1]]


class TextEncoder(Protocol):
    """Ids of texts; none of them special, whatever a text spells out."""

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """The ids of each text."""
        ...


class LibraryEncoder:
    """The library `tokenizers`; its tokenizer is one for data, as `load_text_tokenizer` opens it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """As TextEncoder; UnicodeDecodeError for what is no UTF-8."""
        strings = [bytes(text).decode() for text in texts]
        encodings = self._tokenizer.encode_batch_fast(strings, add_special_tokens=False)
        ids = [np.array(encoding.ids, np.uint16) for encoding in encodings]
        return Encoded(np.concatenate([np.empty(0, np.uint16), *ids]), _offsets(ids))


class CompiledEncoder:
    """The kernels of `fast_encode`; ValueError says what of the tokenizer they cannot do. For one thread."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        said: dict[str, Any] = json.loads(tokenizer.to_str())
        fault = next(_faults(said), None)
        if fault is not None:
            raise ValueError(fault)
        vocabulary, merges = said["model"]["vocab"], said["model"]["merges"]
        byte_ids = np.zeros(256, np.uint16)
        for letter, byte in bytes_of_letters().items():
            byte_ids[byte] = vocabulary[letter]
        pairs = [(vocabulary[left], vocabulary[right]) for left, right in merges]
        self._tables = fast_encode.Tables(
            classes=class_table(),
            byte_ids=byte_ids,
            pairs=fast_encode.pair_table(np.array(pairs, np.int64).reshape(-1, 2)),
            merged_ids=np.array([vocabulary[left + right] for left, right in merges], np.uint16),
        )
        self._memory = fast_encode.empty_memory()

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """As TextEncoder; what is no UTF-8 is encoded byte by byte."""
        data = np.concatenate([np.empty(0, np.uint8), *texts])
        return Encoded(*fast_encode.encode_bytes(data, _offsets(texts), self._tables, self._memory))


def objection_to_compiled(tokenizer: Tokenizer, sample: Iterable[Text]) -> str | None:
    """What speaks against the compiled encoder, or None: whether it can do this tokenizer and agrees on every text."""
    try:
        compiled = CompiledEncoder(tokenizer)
    except ValueError as error:
        return f"our encoder cannot do this tokenizer, {error}"
    difference = find_difference(compiled, LibraryEncoder(tokenizer), [*map(as_text, HARD_TEXTS), *sample])
    return None if difference is None else f"our encoder is wrong about this tokenizer, {difference}"


def find_difference(encoder: TextEncoder, reference: TextEncoder, texts: Iterable[Text]) -> str | None:
    """What `encoder` does otherwise than `reference`, in words, or None if nothing."""
    for text in texts:
        ours, theirs = encoder.encode([text]).ids, reference.encode([text]).ids
        if not np.array_equal(ours, theirs):
            shared = min(len(ours), len(theirs))
            place = int(np.argmin(np.append(ours[:shared] == theirs[:shared], False)))
            return f"from token {place} on it encodes {bytes(text[:60])!r} otherwise"
    return None


def as_text(text: str) -> Text:
    """The UTF-8 bytes of `text`."""
    return np.frombuffer(text.encode(), np.uint8)


@cache
def class_table() -> NDArray[np.uint8]:
    """The class of every code point as the library's own pattern and its own splitter of digits see it."""
    codes = np.concatenate([np.arange(part.start, part.stop) for part in _ASKED_CODES])
    asked = "".join(map(chr, codes.tolist()))
    table = np.full(fast_encode.NUM_CODES, fast_encode.OTHER, np.uint8)
    for kind, splitter in (
        (fast_encode.LETTER, pre_tokenizers.Split(Regex(r"\p{L}+"), "isolated")),
        (fast_encode.NUMERAL, pre_tokenizers.Split(Regex(r"\p{N}+"), "isolated")),
        (fast_encode.SPACE, pre_tokenizers.Split(Regex(r"\s+"), "isolated")),
        (fast_encode.DIGIT, pre_tokenizers.Digits(individual_digits=False)),
    ):
        # NUL is of none of these classes, so that every second run is of the class.
        for _, (start, end) in splitter.pre_tokenize_str(asked)[1::2]:
            table[codes[start:end]] = kind
    return table


def _faults(said: dict[str, Any]) -> Iterator[str]:
    """What in the description of a tokenizer is not byte-level BPE by our recipe."""
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = piece_splitter()
    recipe: dict[str, Any] = json.loads(plain.to_str())
    settings = ("type", "dropout", "ignore_merges", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    for found, needed, keys in (
        (said, recipe, ("pre_tokenizer", "normalizer", "truncation", "padding")),
        (said["model"], recipe["model"], settings),
    ):
        for key in keys:
            if found.get(key) != needed.get(key):
                yield f"its {key} is {json.dumps(found.get(key)):.80}, not {json.dumps(needed.get(key)):.80}"
    if len(said["model"]["vocab"]) > fast_encode.MAX_TOKENS:
        yield f"its vocabulary has {len(said['model']['vocab'])} entries, more than {fast_encode.MAX_TOKENS}"


def _offsets(arrays: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, arrays)], dtype=np.int64)
