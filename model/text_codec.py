"""Token ids to text and back without losing a byte, also where a window cuts a character in two.

Python's `str` can hold more than text: lone surrogates, which no valid UTF-8 ever decodes to. Two ranges of them
carry what text cannot: a byte that is not UTF-8 here is U+DC80 to U+DCFF (Python's own surrogateescape), and
special token k is U+D800 + k. So every sequence of ids has a string, each special token is one character that no
cut can split, and source text that spells out a special token is never taken for it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from model.special_tokens import FAMILIES, names_of

TOKENIZER_FILE = "tokenizer.json"
_FIRST_SPECIAL = 0xD800
_RUNS = re.compile(r"[\ud800-\udfff]|[^\ud800-\udfff]+")
_PROBE = "word  two\r\n\tcafe\u0301 <filename> 2024 \u4f60\U0001f600\x00 "
"""Holds what normalizers and prefix spaces would change."""


class TextCodecError(Exception):
    """A tokenizer that cannot carry every byte; one sentence with what it lacks."""


class TextCodec(Protocol):
    """Ids to text and back. decode(encode(text)) == text for every text that `decode` can give."""

    special_ids: Mapping[str, int]
    """The id of each special token of the tokenizer's family by its bare name, for example `file_sep`."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; each special token and each stray byte is one character."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids whose text is `text`; not always those it came from, as merges do not cross a cut."""
        ...


class ByteLevelCodec:
    """TextCodec over a byte-level BPE of the `tokenizers` library whose first ids are a family's special tokens.

    TextCodecError if a special token is elsewhere, if a byte has no token of its own, or if text does not come
    back from its ids as it was.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # A copy, as the switch is not saved with a tokenizer and would change the caller's: with it, text that
        # spells out a special token stays text.
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self.family = family_of(tokenizer)
        """One of `special_tokens.FAMILIES`."""
        self.special_ids: Mapping[str, int] = names_of(FAMILIES[self.family])
        self._bytes_of_id = _bytes_of_ids(tokenizer)
        self._id_of_byte = {token[0]: number for number, token in self._bytes_of_id.items() if len(token) == 1}
        if len(self._id_of_byte) < 256:
            lacking = next(byte for byte in range(256) if byte not in self._id_of_byte)
            raise TextCodecError(f"the tokenizer has no token for byte 0x{lacking:02x} alone; train it again")
        if self.decode(self.encode(_PROBE)) != _PROBE:
            raise TextCodecError("the tokenizer does not keep text as it is; train it without a normalizer")

    @classmethod
    def read(cls, tokenizer_dir: Path) -> "ByteLevelCodec":
        """The codec of a tokenizer artifact; TextCodecError also if its file cannot be read."""
        path = tokenizer_dir / TOKENIZER_FILE
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # noqa: BLE001 - the library raises a bare Exception for what it cannot parse
            raise TextCodecError(f"{path} is no tokenizer ({error}); train it again") from None
        return cls(tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """As TextCodec; TextCodecError for an id outside the vocabulary."""
        try:
            return "".join(self._decoded_runs(ids))
        except KeyError as error:
            raise TextCodecError(
                f"token id {error.args[0]} is not in the tokenizer's vocabulary; tokenize the corpus again"
            ) from None

    def _decoded_runs(self, ids: Sequence[int]) -> Iterator[str]:
        for special, run in groupby(ids, key=lambda number: number < len(self.special_ids)):
            if special:
                yield from (chr(_FIRST_SPECIAL + number) for number in run)
            else:
                yield b"".join(self._bytes_of_id[number] for number in run).decode("utf-8", "surrogateescape")

    def encode(self, text: str) -> list[int]:
        """As TextCodec; ValueError for a surrogate that no id decodes to."""
        ids: list[int] = []
        for run in _RUNS.findall(text):
            if not _is_surrogate(run[0]):
                ids.extend(self._tokenizer.encode(run, add_special_tokens=False).ids)
            elif ord(run) < _FIRST_SPECIAL + len(self.special_ids):
                ids.append(ord(run) - _FIRST_SPECIAL)
            else:
                ids.append(self._id_of_byte[run.encode("utf-8", "surrogateescape")[0]])
        return ids


def family_of(tokenizer: Tokenizer) -> str:
    """Which of FAMILIES the vocabulary begins with; TextCodecError names the first token that is not in its place."""
    misplaced = {
        name: [number for number, token in enumerate(tokens) if tokenizer.token_to_id(token) != number]
        for name, tokens in FAMILIES.items()
    }
    nearest = min(misplaced, key=lambda name: len(misplaced[name]))
    if not misplaced[nearest]:
        return nearest
    number = misplaced[nearest][0]
    token = FAMILIES[nearest][number]
    raise TextCodecError(
        f"the tokenizer has {token} at id {tokenizer.token_to_id(token)}, not {number}; train it again"
    )


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _bytes_of_ids(tokenizer: Tokenizer) -> dict[int, bytes]:
    """The bytes of every token that is not special; TextCodecError if a token holds another letter than GPT-2's."""
    byte_of = bytes_of_letters()
    num_special = len(FAMILIES[family_of(tokenizer)])
    try:
        return {
            number: bytes(byte_of[letter] for letter in token)
            for token, number in tokenizer.get_vocab().items()
            if number >= num_special
        }
    except KeyError as error:
        raise TextCodecError(
            f"the tokenizer has a token with {error.args[0]!r}, so it is not byte-level; train it again"
        ) from None


def bytes_of_letters() -> dict[str, int]:
    """GPT-2's alphabet, in which a vocabulary is spelled: printable Latin-1 bytes are their own letters, the others
    count up from U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
