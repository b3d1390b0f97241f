"""Whether a conversation is in English, judged by its prose alone: code, logs, addresses and identifiers say nothing.

StarCoder (arXiv 2305.06161, section 3.3) asked a fastText model; this asks py3langid, which carries its model (139
languages, naive Bayes over byte n-grams) inside the package, so that no file has to be fetched.
"""

import re
from functools import cache
from typing import Any

import re2
from py3langid.langid import MODEL_FILE, LanguageIdentifier

MAX_PROSE_CHARS = 600
MAX_TEXT_CHARS = 20_000
"""So much of the prose is judged, and so much of a text is searched for it. Of 2,000 samples of 300 bytes from the
English messages of GNU programs none was taken for another language; of 2,000 from their translations into 25 languages
two were taken for English (probability 0.5)."""

# What is taken out: comments of templates, fenced blocks (an open one goes to the end), spans of code, tags, addresses,
# indented lines, lines of a terminal.
_NOT_PROSE = "|".join(
    (
        r"(?s:<!--.*?-->)",
        r"(?ms:^[ >]*```.*?(?:^[ >]*```[^\n]*$|\z))",
        r"(?ms:^[ >]*~~~.*?(?:^[ >]*~~~[^\n]*$|\z))",
        r"``[^\n]*?``|`[^`\n]*`",
        r"<[a-zA-Z/][^<>\n]*>",
        r"(?:https?|ftp)://[^\s)>\]]+|www\.[^\s)>\]]+",
        r"(?m:^(?:    |\t)[^\n]*$)",
        r"(?m:^[ >]*[$#%] [^\n]*$)",
    )
)
# A piece between blanks that is a word and no name, path, number or identifier, with the marks that stand at words.
_WORD = re.compile(r"[(\"'*]*([A-Za-z]+(?:['-][A-Za-z]+)*)[)\"'*.,;:!?]*")
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]")
_LETTERS = re.compile(r"[^\W\d_]+")


def prose_of(text: str) -> str:
    """The words of a text in their order, one blank between them; at most MAX_PROSE_CHARS."""
    words: list[str] = []
    room = MAX_PROSE_CHARS
    for piece in _not_prose().sub(" ", text[:MAX_TEXT_CHARS]).split():
        found = _words_of(piece)
        words += found
        room -= sum(len(word) + 1 for word in found)
        if room <= 0:
            break
    return " ".join(words)[:MAX_PROSE_CHARS]


def _words_of(piece: str) -> list[str]:
    """What is written in other letters has no identifiers, and often no blanks."""
    if not piece.isascii():
        return _LETTERS.findall(piece)
    match = _WORD.fullmatch(piece)
    return [] if match is None or _INNER_CAPITAL.search(piece) else [match[1]]


def language_of_prose(prose: str) -> tuple[str, float]:
    """The likeliest language (ISO 639-1) and the probability of English."""
    ranked = _identifier().rank(prose)
    return ranked[0][0], dict(ranked)["en"]


@cache
def _not_prose() -> Any:
    return re2.compile(_NOT_PROSE)


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
