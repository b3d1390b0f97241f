"""Labelled examples for the tagger: real code into which faked personal data is planted where people leave it.

An example takes some consecutive lines of a file and sets new lines and trailing comments between them, filled from
`pii_templates.txt` by `pii_values.py`; the code itself stays as it is, and every planted value is known to the byte.
Files, templates and the values' countries are each divided into three parts, so what is held out was seen in none of
them. Lines of the code that may hold personal data of their own are unknown: they are neither learned nor scored.
"""

import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from faker.providers.person.en_US import Provider as EnglishPersons

from components.markup import STRUCTURED_KINDS
from components.redaction.pii_labels import LabelledSpan
from components.redaction.pii_values import FIELDS, PARTS, Part, Source, source_of
from components.tables import read_files

MAX_EXCERPT_BYTES = 4096
"""An excerpt stops before the line that would make it longer."""

_PART_SHARES = (0.7, 0.1, 0.2)  # of the templates and of the files: train, validation, held_out


@dataclass(frozen=True)
class CodeFile:
    """What is read of a file of the corpus."""

    file_id: str
    repository: str
    path: str
    language: str | None
    content: bytes


@dataclass(frozen=True)
class Example:
    """A text, the personal data in it in the order of the text, and the byte ranges of which nothing is known."""

    text: bytes
    spans: tuple[LabelledSpan, ...]
    unknown: tuple[tuple[int, int], ...]


# ---------------------------------------------------------------------------------------------------- files and parts


def choose_code_files(artifact: Path, num_files: int, seed: int) -> list[CodeFile]:
    """At most `num_files` plain files, those whose seeded hash is least, in its order.

    Notebooks with output, issues and commits are left out: their marks are not code that a template fits into.
    """
    named = (row for row in _rows(artifact, ["file_id", "kind"]) if row["kind"] not in STRUCTURED_KINDS)
    ranked = heapq.nsmallest(num_files, ((_hash(seed, row["file_id"]), row["file_id"]) for row in named))
    rank = {file_id: place for place, (_, file_id) in enumerate(ranked)}
    columns = ["file_id", "repository", "path", "language", "content"]
    chosen = [
        CodeFile(**row | {"content": row["content"].encode()})
        for row in _rows(artifact, columns)
        if row["file_id"] in rank
    ]
    return sorted(chosen, key=lambda file: rank[file.file_id])


def part_of(file: CodeFile, seed: int) -> Part:
    """The part that all versions of the file belong to."""
    share = _hash(seed, f"{file.repository}\0{file.path}") / 2**64
    return PARTS[0] if share < _PART_SHARES[0] else PARTS[1] if share < sum(_PART_SHARES[:2]) else PARTS[2]


def _rows(artifact: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in read_files(artifact, columns):
        yield from batch.to_pylist()


def _hash(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{text}".encode()).digest()[:8], "big")


# ---------------------------------------------------------------------------------------------------------- templates

_GROUP_OF: Mapping[str, str] = {
    language: group
    for group, languages in {
        "python": "python cython",
        "shell": "shell makefile dockerfile perl ruby powershell batchfile tcl awk r julia elixir cmake",
        "config": "ini toml yaml json hcl csv nix",
        "markup": "html xml vue markdown restructuredtext text tex",
    }.items()
    for language in languages.split()
}
"""Which templates suit a language; a language that is not named here is written like C."""

_COMMENTS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "python": (("", "# ", ""), ("", "# ", ""), ("", "#", ""), ('"""', "", '"""')),
    "shell": (("", "# ", ""), ("", "#", ""), ("", "## ", "")),
    "config": (("", "# ", ""), ("", "; ", ""), ("", "#", "")),
    "markup": (("<!-- ", "", " -->"), ("", "", ""), ("", "", ""), (".. ", "   ", "")),
    "c": (("", "// ", ""), ("", "//", ""), ("/* ", " * ", " */"), ("/** ", " * ", " */"), ("", " * ", "")),
}
"""How a comment is written in each group: what opens it, what begins each line, what closes it."""

_TOKEN = re.compile(r"\{(\w+)\}|(\{\{|\}\}|\\\\n|\\n)")
_ESCAPES = {"{{": "{", "}}": "}", "\\n": "\n", "\\\\n": "\\n"}


@cache
def templates() -> Mapping[tuple[str, Part], tuple[str, ...]]:
    """The templates of each group and part. Those that differ only in case and punctuation share a part."""
    text = resources.files("components.redaction").joinpath("pii_templates.txt").read_text(encoding="utf-8")
    found: dict[tuple[str, Part], list[str]] = {}
    group = ""
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]") and line[1:-1] in _COMMENTS.keys() | {"comment"}:
            group = line[1:-1]
        elif line and not line.startswith(";;"):
            found.setdefault((group, _part_of_template(line)), []).append(line)
    return {place: tuple(lines) for place, lines in found.items()}


def _part_of_template(template: str) -> Part:
    gist = re.sub(r"\{q\}|\\n|[^a-z{}]", "", template.lower())
    share = _hash(0, gist) / 2**64
    return PARTS[0] if share < _PART_SHARES[0] else PARTS[1] if share < sum(_PART_SHARES[:2]) else PARTS[2]


# ----------------------------------------------------------------------------------------------------------- planting


def examples_of(files: Iterable[CodeFile], part: Part, plants: int, lines: int, seed: int) -> Iterator[Example]:
    """One example for each file of `part` in order: at most `lines` lines, and 0 to 2 x `plants` plantings between.

    An example is a function of seed and file. A file without a line that fits gives none.
    """
    for file in files:
        if part_of(file, seed) == part:
            source = source_of(part, _hash(seed, file.file_id))
            excerpt = _excerpt(file.content, lines, source.random)
            if excerpt:
                yield plant(excerpt, file.language, source.random.randint(0, 2 * plants), source)


def plant(excerpt: Sequence[bytes], language: str | None, plants: int, source: Source) -> Example:
    """Set `plants` filled templates between the lines of the excerpt; without them it is the excerpt, byte for byte."""
    group = _GROUP_OF.get(language or "", "c")
    places = sorted(source.random.choices(range(len(excerpt) + 1), k=plants))
    growing = _GrowingExample()
    for number, line in enumerate([*excerpt, b""]):
        for _ in range(places.count(number)):
            growing.plant(_planting(group, _indent(line), source), source)
        growing.keep(line)
    return growing.done()


def _excerpt(content: bytes, lines: int, random: Random) -> list[bytes]:
    all_lines = content.splitlines(keepends=True)
    start = random.randrange(max(1, len(all_lines) - lines + 1))
    taken: list[bytes] = []
    room = MAX_EXCERPT_BYTES
    for line in all_lines[start : start + lines]:
        room -= len(line)
        if room < 0:
            break
        taken.append(line)
    return taken


def _indent(line: bytes) -> str:
    return line[: len(line) - len(line.lstrip(b" \t"))].decode()


def _planting(group: str, indent: str, source: Source) -> str:
    """A template with its surroundings: a comment in the group's style, or a line of its kind or of another."""
    chance = source.random.random()
    kind = "comment" if chance < 0.45 else group if chance < 0.85 else source.of(tuple(_COMMENTS))
    template: str = source.of(templates()[kind, source.part])
    opens, begins, closes = source.of(_COMMENTS[group]) if kind == "comment" else ("", "", "")
    escaped = (affix.replace("{", "{{").replace("}", "}}") for affix in (opens, begins, closes))
    opens, begins, closes = escaped
    first = opens or begins
    return indent + first + template.replace("\\n", f"\\n{indent}{begins}") + closes + "\\n"


# What may be personal data of the code itself. English first names stand for all names: most of what is left unmarked
# is then no name.
_SUSPECT = re.compile(
    rb"@[A-Za-z0-9-]+\.[A-Za-z]|\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]{0,4}::?[0-9a-f]{1,4}:"
    rb"|(?i:author|copyright|\(c\)|contribut|maintain|written by|thanks|patch by|patches|review|signed|reported|login)"
    rb"|\bby [A-Z]|TODO\(|/home/|/Users/|(?i:github\.com/)"
    rb"|(?i:passw\w*|pwd|secret\w*|token\w*|key|user\w*)[\"']?\W{1,5}[\"'][^\"']|[\"'][A-Za-z0-9+/=_-]{20,}[\"']|\b("
    + b"|".join(name.encode() for name in sorted(EnglishPersons.first_names))
    + rb")\b"
)


class _GrowingExample:
    """The text of an example so far, with what is known of it."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._spans: list[LabelledSpan] = []
        self._unknown: list[tuple[int, int]] = []

    def keep(self, line: bytes) -> None:
        """A line of the code."""
        start = len(self._text)
        self._text += line
        if _SUSPECT.search(line):
            self._unknown.append((start, len(self._text)))

    def plant(self, template: str, source: Source) -> None:
        """A filled template."""
        quote = FIELDS["q"][1](source)
        end = 0
        for token in _TOKEN.finditer(template):
            self._text += template[end : token.start()].encode()
            end = token.end()
            if token[2]:
                self._text += _ESCAPES[token[2]].encode()
            else:
                self._fill(token[1], quote, source)
        self._text += template[end:].encode()

    def done(self) -> Example:
        """The example."""
        return Example(bytes(self._text), tuple(self._spans), tuple(self._unknown))

    def _fill(self, field: str, quote: str, source: Source) -> None:
        entity, draw = FIELDS[field]
        value = (quote if field == "q" else draw(source)).encode()
        start = len(self._text)
        self._text += value
        if entity:
            self._spans.append(LabelledSpan(start, start + len(value), entity))
