"""Drop every file that gives away a benchmark problem, so that the evaluation measures skill and not memory.

Texts are compared in folded form (`ngrams.fold_texts`: lower case, blanks and escapes as one space), so layout and
quoting in JSON or source do not hide a copy. A file is dropped if it holds a problem's docstring or canonical
solution whole (BigCode decontamination), or as many consecutive tokens of its prompt and solution as an n-gram has
(GPT-3, appendix C). N-grams are looked up by hash and then compared as tokens, so no file goes by a collision.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ahocorasick
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.corpus.config import DecontaminateConfig
from components.corpus.ngrams import fold_texts, ngram_hashes
from components.errors import EmptyArtifactError
from components.evaluation.problem_table import Problem, read_problems
from components.section import Summary
from components.tables import FilesCounts, FilesWriter, dropped_rows, text_buffers, track_files

RULE = "benchmark_overlap"
MATCH_CHARS = 120
"""So much of the matched text goes into the detail of a dropped file."""
MIN_NGRAM_WORDS = 3
"""An n-gram with fewer different words (tokens of two letters or more) is not looked for: the count from 1 to 13 is
in every corpus."""

_DOCSTRING = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
_TOKEN = re.compile(rb"[a-z0-9_]+")
_WORD = re.compile(rb"[a-z_]{2,}")


class DecontaminateSummary(Summary):
    """What was looked for and what was dropped."""

    files: FilesCounts
    problems: int
    dropped_by_kind: dict[str, int]
    """Files per kind of overlap: canonical_solution, docstring, ngram; in alphabetical order."""
    dropped_by_benchmark: dict[str, int]
    """Files per benchmark that they overlap with, in alphabetical order."""


@dataclass(frozen=True)
class Overlap:
    """What a file shares with a problem."""

    kind: str
    benchmark: str
    task_id: str
    text: str
    """Folded."""


def run(config: DecontaminateConfig, *, unique_files: Path, eval_problems: Path, out: Path) -> DecontaminateSummary:
    """Write clean_files in the input's order; a dropped row names benchmark, task and matched text.

    Raises EmptyArtifactError if no file is left.
    """
    problems = read_problems(eval_problems)
    search = BenchmarkSearch(problems, config.min_match_chars, config.ngram_tokens)
    kinds: Counter[str] = Counter()
    benchmarks: Counter[str] = Counter()
    with FilesWriter(out) as writer:
        for batch in track_files(unique_files):
            found = search.overlaps(batch)
            is_kept = np.ones(batch.num_rows, dtype=np.bool_)
            is_kept[list(found)] = False
            writer.keep(batch.filter(pa.array(is_kept)))
            writer.drop(_dropped(batch, found, config))
            kinds.update(overlap.kind for overlap in found.values())
            benchmarks.update(overlap.benchmark for overlap in found.values())
        if writer.counts.kept_files == 0:
            raise EmptyArtifactError(_nothing_left(writer.counts))
    return DecontaminateSummary(
        files=writer.counts,
        problems=len(problems),
        dropped_by_kind=dict(sorted(kinds.items())),
        dropped_by_benchmark=dict(sorted(benchmarks.items())),
    )


def _dropped(batch: pa.RecordBatch, found: dict[int, Overlap], config: DecontaminateConfig) -> pa.RecordBatch:
    of_strings, of_ngrams = f"{config.min_match_chars} characters", f"{config.ngram_tokens} tokens"
    rows = sorted(found)
    overlaps = [found[row] for row in rows]
    return dropped_rows(
        batch,
        rows,
        rules=[RULE] * len(rows),
        values=[overlap.kind for overlap in overlaps],
        thresholds=[of_ngrams if overlap.kind == "ngram" else of_strings for overlap in overlaps],
        details=[f"{overlap.benchmark} {overlap.task_id}: {overlap.text[:MATCH_CHARS]}" for overlap in overlaps],
    )


class BenchmarkSearch:
    """The strings and n-grams of the problems, ready to be looked for; each names the first problem that has it."""

    def __init__(self, problems: list[Problem], min_match_chars: int, ngram_tokens: int) -> None:
        self._ngram_tokens = ngram_tokens
        self._strings = _strings(problems, min_match_chars)
        self._ngrams = _ngrams(problems, ngram_tokens)
        # Texts are searched as Latin-1, one character per byte.
        self._automaton: Any = ahocorasick.Automaton()
        for string in self._strings:
            self._automaton.add_word(string.decode("latin-1"), string)
        self._automaton.make_automaton()
        self._hashes = np.unique(_hashes_of(self._ngrams, ngram_tokens))

    def overlaps(self, batch: pa.RecordBatch) -> dict[int, Overlap]:
        """What rows of a batch share with a problem: a string if they hold one, else an n-gram; others are left out."""
        texts, starts = fold_texts(*text_buffers(batch))
        found: dict[int, Overlap] = {}
        for row, string in self._string_matches(texts, starts):
            found[row] = self._strings[string]
        for row, ngram in self._ngram_matches(texts, starts):
            found.setdefault(row, self._ngrams[ngram])
        return found

    def _string_matches(self, texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> Iterable[tuple[int, bytes]]:
        for row in range(len(starts) - 1 if self._strings else 0):
            text = texts[starts[row] : starts[row + 1]].tobytes().decode("latin-1")
            for _, string in self._automaton.iter(text):
                yield row, string
                break

    def _ngram_matches(self, texts: NDArray[np.uint8], starts: NDArray[np.int64]) -> Iterable[tuple[int, bytes]]:
        hashes_N, firsts = ngram_hashes(texts, starts, self._ngram_tokens)
        places = np.flatnonzero(_contains(self._hashes, hashes_N))
        rows = np.searchsorted(firsts, places, side="right") - 1
        for row in np.unique(rows).tolist():
            tokens = _TOKEN.findall(texts[starts[row] : starts[row + 1]].tobytes())
            for place in (places[rows == row] - firsts[row]).tolist():
                ngram = b" ".join(tokens[place : place + self._ngram_tokens])
                if ngram in self._ngrams:
                    yield row, ngram
                    break


def _strings(problems: list[Problem], min_match_chars: int) -> dict[bytes, Overlap]:
    """The docstrings and solutions that are long enough, folded."""
    strings: dict[bytes, Overlap] = {}
    for problem in problems:
        docstrings = [double or single for double, single in _DOCSTRING.findall(problem.prompt)]
        kinds = [("docstring", text) for text in docstrings] + [("canonical_solution", problem.canonical_solution)]
        for kind, text in kinds:
            folded = _folded(text)
            if len(folded.decode()) >= min_match_chars:
                strings.setdefault(folded, _overlap(kind, problem, folded))
    return strings


def _ngrams(problems: list[Problem], ngram_tokens: int) -> dict[bytes, Overlap]:
    """The n-grams of prompt and solution that say something."""
    ngrams: dict[bytes, Overlap] = {}
    for problem in problems:
        tokens = _TOKEN.findall(_folded(f"{problem.prompt}\n{problem.canonical_solution}"))
        for first in range(len(tokens) - ngram_tokens + 1):
            window = tokens[first : first + ngram_tokens]
            if len({token for token in window if _WORD.search(token)}) >= MIN_NGRAM_WORDS:
                ngram = b" ".join(window)
                ngrams.setdefault(ngram, _overlap("ngram", problem, ngram))
    return ngrams


def _overlap(kind: str, problem: Problem, text: bytes) -> Overlap:
    return Overlap(kind, problem.benchmark, problem.task_id, text.decode("utf-8", "replace"))


def _folded(text: str) -> bytes:
    data = text.encode()
    texts, _ = fold_texts(np.frombuffer(data, dtype=np.uint8), np.array([0, len(data)], dtype=np.int64))
    return texts.tobytes()


def _hashes_of(ngrams: Iterable[bytes], ngram_tokens: int) -> NDArray[np.uint64]:
    """The hash of each n-gram."""
    texts = list(ngrams)
    starts = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
    return ngram_hashes(np.frombuffer(b"".join(texts), dtype=np.uint8), starts, ngram_tokens)[0]


def _contains(sorted_hashes: NDArray[np.uint64], hashes_N: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `hashes_N` are in the sorted set."""
    if len(sorted_hashes) == 0:
        return np.zeros(len(hashes_N), dtype=np.bool_)
    places = np.minimum(np.searchsorted(sorted_hashes, hashes_N), len(sorted_hashes) - 1)
    return sorted_hashes[places] == hashes_N


def _nothing_left(counts: FilesCounts) -> str:
    return (
        f"decontaminate left none of {counts.dropped_files} files: each shares text with a benchmark problem; "
        "add sources, or take benchmarks out of collect_problems.problem_files"
    )
