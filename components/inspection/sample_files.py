"""Draws the files that reviewers see, and those that the numbers beside them come from, for each ending of a language.

StarCoder's protocol (arXiv 2305.06161, section 3.2, and bigcode-dataset's `visual_inspection.csv`): up to 1,000 files
of an ending are sampled, 50 to 100 of them are opened. A file's rank depends on the seed and its file_id alone, so
neither order nor shards change what is drawn, and a file that joins moves no other's rank.
"""

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.corpus.content_language import refine_languages
from components.corpus.quality_limits import FileLimits, limits_of
from components.corpus.quality_rules import NOTEBOOK, QualityRules
from components.inspection.ending_numbers import FileNumbers, Range, RuleCount, measure_files, ranges_of, rule_counts
from components.inspection.shown_text import ShownText, printable, shown_text
from components.sources.languages import open_question
from components.tables import read_files
from model.reporting import current_sink

MAX_MEASURED = 1000
"""Files of an ending that its numbers come from, at most."""

NameKey = tuple[str | None, str]
"""Language and ending; None where no language is told."""


@dataclass(frozen=True)
class ShownFile:
    """A file as a reviewer sees it; nothing in it moves a cursor or turns the reading direction."""

    repository: str
    path: str
    license: str
    numbers: FileNumbers
    shown: ShownText


@dataclass(frozen=True)
class EndingSample:
    """The files of one ending of a language."""

    language: str
    extension: str
    is_taken: bool
    reason: str
    """Why files of the language are taken or dropped."""
    files: int
    bytes: int
    is_estimate: bool
    """Both are reckoned from the sample, as only the contents tell the language."""
    measured: int
    dropped: int
    """Of those measured, the files that fail a rule."""
    xml: int
    data: int
    rules: tuple[RuleCount, ...]
    ranges: tuple[Range, ...]
    limits: FileLimits
    shown: tuple[ShownFile, ...]
    """In the order in which they were drawn."""


@dataclass(frozen=True)
class Sample:
    """All endings: those that are taken first, larger languages first, and larger endings in these."""

    endings: tuple[EndingSample, ...]
    unknown_files: int
    """Files of no known language, about; they are not shown."""


@dataclass
class _Drawn:
    """Files whose names tell the same: language, if any, and ending."""

    files: int = 0
    bytes: int = 0
    lowest: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """A heap of the files of lowest rank, as (-rank, file_id)."""
    drawn_bytes: int = 0
    """Of the files in the heap."""

    def add(self, rank: int, file_id: str, size_bytes: int) -> None:
        """Count a file, and keep its name if its rank is among the lowest."""
        self.files += 1
        self.bytes += size_bytes
        _push(self.lowest, (-rank, file_id), MAX_MEASURED)


@dataclass
class _Found:
    """What was measured of the files of one ending, and those of them to be shown."""

    numbers: list[FileNumbers] = field(default_factory=list[FileNumbers])
    parts: dict[NameKey, list[int]] = field(default_factory=dict[NameKey, list[int]])
    """Files and bytes by what their names told."""
    shown: list[tuple[int, str, ShownFile]] = field(default_factory=list[tuple[int, str, ShownFile]])
    """A heap as `_Drawn.lowest`, with the file."""

    def add(self, named: NameKey, numbers: FileNumbers) -> None:
        """Count a measured file."""
        self.numbers.append(numbers)
        part = self.parts.setdefault(named, [0, 0])
        part[0] += 1
        part[1] += numbers.size_bytes

    def totals(self, drawn: Mapping[NameKey, _Drawn]) -> tuple[float, float, bool]:
        """Files and bytes in all; and whether they are reckoned, which they are where a sample fell apart."""
        files = bytes = 0.0
        is_estimate = False
        for named, (num_files, num_bytes) in sorted(self.parts.items(), key=str):  # sums of floats know an order
            whole = drawn[named]
            files += whole.files * num_files / len(whole.lowest)
            bytes += whole.bytes * num_bytes / max(1, whole.drawn_bytes)
            is_estimate |= num_files < len(whole.lowest) < whole.files
        return files, bytes, is_estimate


def sample_files(
    raw_files: Path,
    rules: QualityRules,
    *,
    files_per_extension: int,
    seed: int,
    languages: frozenset[str] | None = None,
) -> Sample:
    """Draw from the table of files; `languages` are those wanted, None for all.

    Holds the numbers of up to MAX_MEASURED files of each ending and the beginnings of those to be shown. The table is
    read twice, one row group at a time; CorruptArtifactError if it cannot be.
    """
    drawn = _draw(raw_files, rules, seed, languages)
    found = _measure(raw_files, rules, drawn, files_per_extension)
    unknown = sum(files.totals(drawn)[0] for (language, _), files in found.items() if language is None)
    endings = [
        _ending(language, extension, files, drawn, rules)
        for (language, extension), files in found.items()
        if language is not None and (languages is None or language in languages)
    ]
    return Sample(_in_order(endings), round(unknown))


def _draw(raw_files: Path, rules: QualityRules, seed: int, languages: frozenset[str] | None) -> dict[NameKey, _Drawn]:
    drawn: dict[NameKey, _Drawn] = defaultdict(_Drawn)
    columns = ["file_id", "language", "extension", "size_bytes"]
    for batch in read_files(raw_files, columns):
        for file_id, language, extension, size_bytes in zip(
            *(batch.column(name).to_pylist() for name in columns), strict=True
        ):
            drawn[language, extension].add(_rank(seed, file_id), file_id, size_bytes)
    is_told = rules.config.content_model == "none"
    return {
        (language, extension): files
        for (language, extension), files in drawn.items()
        if languages is None or language in languages or not (is_told or open_question(extension, language) is None)
    }


def _measure(
    raw_files: Path, rules: QualityRules, drawn: Mapping[NameKey, _Drawn], files_per_extension: int
) -> dict[NameKey, _Found]:
    """What was found of each language and ending; the language is None where the content does not tell it either."""
    waiting = {file_id: (rank, key) for key, files in drawn.items() for rank, file_id in files.lowest}
    found: dict[NameKey, _Found] = defaultdict(_Found)
    sink, done, total = current_sink(), 0, len(waiting)
    for batch in read_files(raw_files):
        places = [waiting.pop(file_id, None) for file_id in batch.column("file_id").to_pylist()]
        rows = [row for row, place in enumerate(places) if place is not None]
        some = batch.take(pa.array(rows, pa.int64()))
        if rules.config.content_model == "magika":
            some, _ = refine_languages(some)
        origins = some.select(_SHOWN_COLUMNS).to_pylist()
        for row, (place, origin, numbers) in enumerate(
            zip(filter(None, places), origins, measure_files(some, rules), strict=True)
        ):
            rank, named = place
            drawn[named].drawn_bytes += numbers.size_bytes
            files = found[origin["language"], origin["extension"]]
            files.add(named, numbers)
            if _is_among(files.shown, rank, files_per_extension):
                shown = _shown(some, row, origin, numbers)
                _push(files.shown, (rank, origin["file_id"], shown), files_per_extension)
        done += len(rows)
        sink.progress(done, total, "files")
    return found


_SHOWN_COLUMNS = ["file_id", "language", "extension", "repository", "path", "license"]


def _shown(batch: pa.RecordBatch, row: int, origin: Mapping[str, str | None], numbers: FileNumbers) -> ShownFile:
    repository, path, license = (printable(origin[name] or "") for name in ("repository", "path", "license"))
    return ShownFile(repository, path, license, numbers, shown_text(batch, row, numbers.num_lines))


def _is_among(heap: Sequence[tuple[Any, ...]], negative_rank: int, size: int) -> bool:
    """Whether a file of this rank belongs to the `size` lowest of those that came by now."""
    return len(heap) < size or (size > 0 and negative_rank > heap[0][0])


def _push(heap: list[Any], entry: tuple[Any, ...], size: int) -> None:
    """Keep the `size` entries whose ranks are the lowest."""
    if len(heap) < size:
        heapq.heappush(heap, entry)
    elif _is_among(heap, entry[0], size):
        heapq.heapreplace(heap, entry)


def _ending(
    language: str, extension: str, found: _Found, drawn: Mapping[NameKey, _Drawn], rules: QualityRules
) -> EndingSample:
    files, bytes, is_estimate = found.totals(drawn)
    choice = rules.choices[language]
    is_notebook = extension == NOTEBOOK
    limits = limits_of(language, extension, rules.config, rules.verdicts)
    return EndingSample(
        language=language,
        extension=extension,
        is_taken=choice.is_kept and not is_notebook,
        reason="notebooks are read by convert_notebooks" if is_notebook else choice.reason,
        files=round(files),
        bytes=round(bytes),
        is_estimate=is_estimate,
        measured=len(found.numbers),
        dropped=sum(bool(file.drops) for file in found.numbers),
        xml=sum(file.begins_as_xml for file in found.numbers),
        data=sum(file.is_data for file in found.numbers),
        rules=rule_counts(found.numbers),
        ranges=ranges_of(found.numbers, limits),
        limits=limits,
        shown=tuple(shown for _, _, shown in sorted(found.shown, key=lambda entry: -entry[0])),
    )


def _in_order(endings: list[EndingSample]) -> tuple[EndingSample, ...]:
    sizes: Counter[str] = Counter()
    for ending in endings:
        sizes[ending.language] += ending.bytes
    return tuple(sorted(endings, key=lambda e: (not e.is_taken, -sizes[e.language], e.language, -e.bytes, e.extension)))


def _rank(seed: int, file_id: str) -> int:
    """The word keeps this draw apart from others with the same seed: what a cap kept is no random sample."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{file_id}:inspection".encode()).digest()[:8], "big")
