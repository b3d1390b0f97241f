"""Which language a file is in where its name leaves that open: by signs in its content, else by magika's model.

The model (Apache-2.0, in magika's wheel) reads the first and the last kilobytes of a file and takes some milliseconds,
so it is asked only where `languages.open_question` has a question, and believed only if its answer is one of those that
may be. It takes languages that it never saw for others (Coq for Verilog, Puppet for Pascal) and is sure of it, so where
one of those may be, its own signs are looked for first. What nothing tells stays as it was.
"""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import re2
from numpy.typing import NDArray

from components.sources.language_table import LANGUAGES
from components.sources.languages import open_question
from components.tables import text_buffers

_END_BYTES = 4096
"""So much from each end is all that the model looks at."""

_NAMES = {
    "asm": "assembly",
    "batch": "batchfile",
    "bazel": "python",
    "bib": "tex",
    "cs": "c-sharp",
    "csproj": "xml",
    "gemfile": "ruby",
    "gemspec": "ruby",
    "gradle": "groovy",
    "jinja": "twig",
    "jsonl": "json",
    "latex": "tex",
    "lisp": "common-lisp",
    "objectivec": "objective-c",
    "po": "gettext-catalog",
    "proto": "protocol-buffer",
    "rdf": "xml",
    "rst": "restructuredtext",
    "tsv": "csv",
    "txt": "text",
    "vba": "visual-basic",
    "vcxproj": "xml",
}
"""The model's labels whose languages have another name here."""

_SIGNS = {
    "coq": r"(?m)^\s*(?:Require Import|From [\w.]+ Require|Theorem|Lemma|Fixpoint|Inductive|Proof|Qed)\b",
    "d": r"(?m)^\s*(?:module\s+[\w.]+\s*;|import\s+(?:std|core)\.)",
    "lex": r"(?m)^%%\s*$",
    "mathematica": r"\bBeginPackage\[|\w_(?:[A-Z]\w*)?\]\s*:=|\b(?:Module|Block|Table)\[",
    "puppet": r"\bensure\s*=>|(?m:^\s*(?:class|define)\s+\w+(?:::\w+)+\s*[({])",
    "qmake": r"(?m)^\s*(?:CONFIG|HEADERS|QT|SOURCES|TARGET|TEMPLATE)\s*[+*-]?=",
    "standard-ml": r"(?m)^\s*(?:functor|signature|structure)\s+\w+",
}
"""What shows a language that the model does not know, where its ending is also that of others."""

_SIGN_BYTES = 2**16
"""Signs are looked for in so much of the beginning."""

_KNOWN = frozenset(language.name for language in LANGUAGES)


def refine_languages(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, int]]:
    """The batch with the languages that the content shows, and how many files were asked and how many answered."""
    data, offsets = text_buffers(batch)
    languages: list[str | None] = batch.column("language").to_pylist()
    asked = answered = 0
    for row, extension in enumerate(batch.column("extension").to_pylist()):
        possible = open_question(extension, languages[row])
        if possible is None:
            continue
        asked += 1
        text = data[offsets[row] : offsets[row + 1]]
        found = _language_of_signs(text, possible) or _language_of_model(text)
        if found is not None and (not possible or found in possible):
            answered += 1
            languages[row] = found
    counts = {"content_asked": asked, "content_answered": answered}
    index = batch.schema.get_field_index("language")
    return batch.set_column(index, batch.schema.field(index), pa.array(languages, pa.string())), counts


def _language_of_signs(text: NDArray[np.uint8], possible: tuple[str, ...]) -> str | None:
    head = text[:_SIGN_BYTES].tobytes()
    return next((name for name in possible if name in _SIGNS and _sign(name).search(head)), None)


def _language_of_model(text: NDArray[np.uint8]) -> str | None:
    ends = text if text.size <= 2 * _END_BYTES else np.concatenate([text[:_END_BYTES], text[-_END_BYTES:]])
    label = str(_model().identify_bytes(ends.tobytes()).output.label)
    name = _NAMES.get(label, label)
    return name if name in _KNOWN else None


@cache
def _sign(name: str) -> Any:
    return re2.compile(_SIGNS[name].encode())


@cache
def _model() -> Any:
    from magika import Magika  # noqa: PLC0415 - loads a neural network's engine, which most runs need not

    return Magika()
