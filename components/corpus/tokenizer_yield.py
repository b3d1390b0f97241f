"""How many characters a token of a given tokenizer holds on average: few where a text is not what it was made for.

SantaCoder (arXiv 2301.03988, section 4) tried it as a filter. The tokenizer is a file that exists before the corpus
does: one trained on this corpus would make a circle.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

_PIECE_CHARS = 2**20
"""Longer texts are encoded in pieces: a token more or less in a million changes nothing, but memory stays bounded."""


def characters_per_token(texts: Iterable[str], tokenizer_json: str) -> list[float]:
    """Of each text; 0 for one without a token."""
    tokenizer = tokenizer_of(tokenizer_json)
    shares: list[float] = []
    for text in texts:
        pieces = [text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS)]
        tokens = sum(len(each.ids) for each in tokenizer.encode_batch_fast(pieces, add_special_tokens=False))
        shares.append(len(text) / tokens if tokens else 0.0)
    return shares


@lru_cache(maxsize=1)
def tokenizer_of(tokenizer_json: str) -> Any:
    """The tokenizer that a `tokenizer.json` describes; ValueError if it describes none."""
    try:
        tokenizer: Any = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # noqa: BLE001 - the library raises nothing more particular
        raise ValueError(str(error)) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
