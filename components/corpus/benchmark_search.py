"""What files share with benchmark problems: whole texts and n-grams, each with its span in the file's own bytes.

A problem's text counts if it stands in a file whole, in folded form (`folded_text.py`), or if a run of its tokens
does. One text is often part of several benchmarks (HumanEval's docstrings are in the infilling tasks too): it is
reported for each benchmark, under the first problem there that has it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.corpus.config import DecontaminateConfig
from components.corpus.folded_text import fold, original_offsets, without_blanks
from components.corpus.ngram_search import NgramSearch
from components.corpus.string_search import Occurrences, StringSearch
from components.evaluation.problem_table import ProblemRow
from components.tables import text_buffers

NGRAM = "ngram"
"""The kind of an overlap that is a run of tokens; any other is the kind of the problem's text, which stands whole."""

_SAYS_SOMETHING = re.compile(r"[a-z_]{2}|[^\x00-\x7f]")
"""Two letters in a row, or a character beyond ASCII: a ruler of dashes or a column of numbers is in every corpus."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """Spans of a batch's rows that are also a problem's: by row, whole texts before n-grams, then by place."""

    rows: Integers
    problems: Integers
    """Which of `BenchmarkSearch.problems`."""
    kinds: Integers
    """Which of `BenchmarkSearch.kinds`."""
    first: Integers
    """First byte of the span in the row's content."""
    end: Integers

    def select(self, chosen: Any) -> "Overlaps":
        """Some of them; `chosen` is what numpy takes as an index."""
        columns = (self.rows, self.problems, self.kinds, self.first, self.end)
        return Overlaps(*(column[chosen] for column in columns))


@dataclass(frozen=True)
class _Lists:
    """Lists of integers end to end: the list of index i is values[starts[i] : starts[i + 1]]."""

    starts: Integers
    values: Integers

    @staticmethod
    def of(lists: Iterable[Sequence[int]]) -> "_Lists":
        lists = list(lists)
        starts = np.cumsum([0, *(len(each) for each in lists)], dtype=np.int64)
        return _Lists(starts, np.array([value for each in lists for value in each], dtype=np.int64))

    def expand(self, indices: Integers) -> tuple[Integers, Integers]:
        """Every value of the lists named: the place in `indices` that it belongs to, and the value."""
        sizes = self.starts[indices + 1] - self.starts[indices]
        places = np.repeat(np.arange(len(indices)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return places, self.values[self.starts[indices][places] + within]


class BenchmarkSearch:
    """The texts of the problems, ready to be looked for."""

    problems: list[tuple[str, str]]
    """Benchmark and task_id of each, in the order of the table."""
    kinds: list[str]

    def __init__(self, rows: Sequence[ProblemRow], config: DecontaminateConfig) -> None:
        self.problems = [(row.benchmark, row.task_id) for row in rows]
        self.kinds = [*sorted({text.kind for row in rows for text in row.texts}), NGRAM]
        self._keeps_blanks = config.blanks == "one_space"
        owners = self._owners_of_texts(rows)
        folded, starts = _buffers(owners)
        self._ngrams = NgramSearch(folded, starts, config.ngram_tokens, config.min_ngram_words)
        self._ngram_owners = self._owners_of_ngrams(list(owners.values()))
        whole = {text: by_benchmark for text, by_benchmark in owners.items() if _is_sought(text, config)}
        folded, starts = _buffers(whole)
        self._strings = StringSearch(*(folded, starts) if self._keeps_blanks else without_blanks(folded, starts))
        self._string_owners = _Lists.of([list(by_benchmark.values()) for by_benchmark in whole.values()])

    def overlaps(self, batch: pa.RecordBatch) -> Overlaps:
        """Every overlap of a batch of files; those of n-grams that reach into each other are one."""
        texts, starts = text_buffers(batch)
        folded, folded_starts = fold(texts, starts)
        searched = (folded, folded_starts) if self._keeps_blanks else without_blanks(folded, folded_starts)
        whole = self._owned(self._strings.occurrences(*searched), self._string_owners)
        runs = _merged(self._owned(self._ngrams.occurrences(folded, folded_starts), self._ngram_owners))
        found = _concatenated(
            _traced(whole, texts, starts, blanks=self._keeps_blanks), _traced(runs, texts, starts, blanks=True)
        )
        is_run = found.kinds == len(self.kinds) - 1
        return found.select(np.lexsort((found.kinds, found.problems, -found.end, found.first, is_run, found.rows)))

    def _owners_of_texts(self, rows: Sequence[ProblemRow]) -> dict[bytes, dict[str, int]]:
        """Each text, folded, with the first problem of each benchmark that has it: its number and the text's kind."""
        distinct = list(dict.fromkeys(text.text for row in rows for text in row.texts))
        folded, starts = fold(*_buffers(text.encode() for text in distinct))
        folded_of = dict(zip(distinct, (folded[first:end].tobytes() for first, end in pairwise(starts)), strict=True))
        owners: dict[bytes, dict[str, int]] = {}
        for number, row in enumerate(rows):
            for text in row.texts:
                owner = number * len(self.kinds) + self.kinds.index(text.kind)
                owners.setdefault(folded_of[text.text], {}).setdefault(row.benchmark, owner)
        return owners

    def _owners_of_ngrams(self, owners_of_texts: Sequence[dict[str, int]]) -> _Lists:
        """Of each n-gram the first problem of each benchmark that has it."""
        num_kinds = len(self.kinds)
        lists = _Lists.of([[owner // num_kinds for owner in owners.values()] for owners in owners_of_texts])
        places, problems = lists.expand(self._ngrams.origins[:, 1])
        ngrams = self._ngrams.origins[places, 0]
        number_of_benchmark = {name: number for number, name in enumerate(dict(self.problems))}
        benchmarks = np.array([number_of_benchmark[name] for name, _ in self.problems], np.int64)[problems]
        order = np.lexsort((problems, benchmarks, ngrams))
        keys = np.stack([ngrams[order], benchmarks[order]], axis=1)
        is_first = np.ones(len(order), np.bool_)
        is_first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        starts = np.searchsorted(keys[is_first, 0], np.arange(self._ngrams.num_ngrams + 1))
        return _Lists(starts.astype(np.int64), problems[order][is_first] * num_kinds + num_kinds - 1)

    def _owned(self, found: Occurrences, owners: _Lists) -> Overlaps:
        """The occurrences, each once for every owner."""
        places, owner = owners.expand(found.indices)
        problems, kinds = np.divmod(owner, len(self.kinds))
        return Overlaps(found.rows[places], problems, kinds, found.first[places], found.end[places])


def _is_sought(folded: bytes, config: DecontaminateConfig) -> bool:
    """Whether a text is long enough to be looked for whole; blanks count as one character, also if they are removed."""
    text = folded.decode()
    return len(text) >= config.min_match_chars and _SAYS_SOMETHING.search(text) is not None


def _buffers(texts: Iterable[bytes]) -> tuple[NDArray[np.uint8], Integers]:
    """As `components.tables.text_buffers`."""
    texts = list(texts)
    starts = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), dtype=np.uint8), starts


def _merged(runs: Overlaps) -> Overlaps:
    """Overlaps of one row with one problem that reach into each other, as one."""
    runs = runs.select(np.lexsort((runs.first, runs.problems, runs.rows)))
    begins = np.ones(len(runs.rows), np.bool_)
    begins[1:] = (
        (runs.rows[1:] != runs.rows[:-1])
        | (runs.problems[1:] != runs.problems[:-1])
        | (runs.first[1:] >= runs.end[:-1])
    )
    ends = np.append(begins[1:], np.ones(min(len(begins), 1), np.bool_))
    return replace(runs.select(begins), end=runs.end[ends])


def _traced(found: Overlaps, texts: NDArray[np.uint8], starts: Integers, *, blanks: bool) -> Overlaps:
    """The same spans in the files' own bytes instead of the folded ones; `blanks` as in `original_offsets`."""
    return replace(
        found,
        first=original_offsets(texts, starts, found.rows, found.first, blanks=blanks),
        end=original_offsets(texts, starts, found.rows, found.end - 1, blanks=blanks) + 1,
    )


def _concatenated(left: Overlaps, right: Overlaps) -> Overlaps:
    columns = [(getattr(left, field.name), getattr(right, field.name)) for field in fields(Overlaps)]
    return Overlaps(*map(np.concatenate, columns))
