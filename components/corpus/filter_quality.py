"""The step that keeps what reads like source code, of the languages that were asked for and so much of each.

The filters of StarCoder, StarCoder2 and SantaCoder, each as a row of `quality_rules.RULES`; a file whose name leaves
its language open is looked into first. Where a language has a cap, what passes the rules is drawn from by hash: the
caps are on what the filters leave, as StarCoder's are.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.corpus.comment_text import COMMENT_SYNTAX
from components.corpus.content_language import refine_languages
from components.corpus.inspection_table import (
    digest_inspections,
    read_inspections,
    starcoder_digest,
    starcoder_inspections,
)
from components.corpus.language_caps import COLUMNS, caps_of, thin_batch
from components.corpus.language_selection import select_languages
from components.corpus.quality_config import FilterQualityConfig, RuledLanguages
from components.corpus.quality_limits import verdicts_of
from components.corpus.quality_presets import preset_of
from components.corpus.quality_rules import Asked, QualityRules, ask_rules
from components.corpus.tokenizer_yield import tokenizer_of
from components.errors import EmptyArtifactError, ParamsError, SourceError
from components.section import Summary
from components.shard_map import MapOutcome, Mapped, map_shards
from components.tables import DROPPED, FILES, FilesCounts, TableFormat, dropped_rows, read_files, shards_of

_MAX_TOKENIZER_BYTES = 2**28


class FilterQualitySummary(Summary):
    """What was kept."""

    files: FilesCounts
    preset: str
    """Whose rules the numbers are: a name of `quality_presets.PRESETS`, or "own"."""
    languages: dict[str, str]
    """Why each language that there are kept files of was taken, in alphabetical order."""
    bytes_by_language: dict[str, int]
    """UTF-8 bytes of the kept files per language, in alphabetical order."""
    shares_by_language: dict[str, float]
    """Of the files that passed the rules, the share that a cap let through, where one did not let all through."""
    content_asked: int
    """Files whose name left their language open."""
    content_answered: int
    """Those among them that got one from their content."""
    files_with_bidi_controls: int
    """Files that passed the rules and look other to a person than to a compiler: none where the rules drop them."""
    files_with_nul: int
    """Files that passed the rules with a NUL character in them: none where the rules drop them."""


def resolve_sources(config: FilterQualityConfig, workspace: Path) -> dict[str, str]:
    """sha256 of the tables of verdicts and of the tokenizer that the rules read; "absent" for an inspection not made.

    SourceError for a file that cannot be read.
    """
    digests: dict[str, str] = {}
    if config.extension_rules == "starcoder":
        digests["extension_rules"] = starcoder_digest()
    if config.inspection_file is not None:
        digests["inspection_file"] = digest_inspections(workspace / config.inspection_file)
    if config.characters_per_token is not None:
        text = _tokenizer_json(workspace / config.characters_per_token.tokenizer_file)
        digests["tokenizer_file"] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def run(
    config: FilterQualityConfig, *, raw_files: Path, workspace: Path, out: Path, work_dir: Path
) -> FilterQualitySummary:
    """Write the files that pass every rule, and the others with their first failing rule, in the input's order.

    Raises ParamsError for a language that is not known, SourceError as `resolve_sources` and for a table of verdicts
    that is wrong, EmptyArtifactError if no file passes.
    """
    rules = rules_of(config, raw_files, workspace)
    function = partial(filter_batch, rules=rules)
    is_capped = bool(config.max_bytes_by_language or config.keep_fraction_by_language)
    passed = work_dir / "passed" if is_capped else out
    shutil.rmtree(work_dir / "passed", ignore_errors=True)
    passed.mkdir(parents=True, exist_ok=True)
    outcome = map_shards(function, [raw_files], passed, work_dir / "filter")
    files, shares = outcome.files, {}
    if is_capped:
        files, shares = _thinned(config, outcome, passed, out, work_dir)
    if files.kept_files == 0:
        raise EmptyArtifactError(
            f"no file passed filter_quality (dropped: {files.rules_told()}); loosen its limits or add languages"
        )
    sizes = _bytes_by_language(read_files(out, ["language", "size_bytes"]))
    return FilterQualitySummary(
        files=files,
        preset=preset_of(config),
        languages={name: rules.choices[name].reason for name in sizes},
        bytes_by_language=sizes,
        shares_by_language=shares,
        **{name: outcome.counts.get(name, 0) for name in _COUNTS},
    )


_COUNTS = ("content_asked", "content_answered", "files_with_bidi_controls", "files_with_nul")


def filter_batch(batch: pa.RecordBatch, rules: QualityRules) -> Mapped:
    """The rows of CODE_FILES that pass and the reasons of the others, each in the batch's order."""
    counts: dict[str, int] = {}
    if rules.config.content_model == "magika":
        batch, counts = refine_languages(batch)
    asked = Asked(batch, rules)
    reasons: dict[int, tuple[str, str, str, str]] = {}
    for name, failed in ask_rules(asked):
        details = failed.details or [""] * len(failed.rows)
        told = zip([name] * len(failed.rows), failed.values, failed.thresholds, details, strict=True)
        reasons.update(zip(failed.rows.tolist(), told, strict=True))
    rows = sorted(reasons)
    names, values, thresholds, details = ([reasons[row][index] for row in rows] for index in range(4))
    dropped = dropped_rows(batch, rows, rules=names, values=values, thresholds=thresholds, details=details)
    standing = asked.standing
    counts |= {
        "files_with_bidi_controls": int(np.count_nonzero(asked.measures.num_bidi_controls[standing])),
        "files_with_nul": int(np.count_nonzero(asked.measures.num_nul[standing])),
    }
    is_kept = np.zeros(batch.num_rows, np.bool_)
    is_kept[standing] = True
    return Mapped(kept=batch.filter(pa.array(is_kept)), dropped=dropped, counts=counts)


def rules_of(config: FilterQualityConfig, raw_files: Path, workspace: Path) -> QualityRules:
    """All that the rules of this config need to know; raises as `run` but for EmptyArtifactError."""
    for language in config.comments.languages if config.comments else ():
        if language not in COMMENT_SYNTAX:
            raise ParamsError(
                f"filter_quality.comments.languages names {language!r}, whose comments cannot be counted; write some "
                f"of {', '.join(COMMENT_SYNTAX)}"
            )
    sizes: dict[str, int] = {}
    if isinstance(config.languages, RuledLanguages):
        sizes = _bytes_by_language(read_files(raw_files, ["language", "size_bytes"]))
    choices = select_languages(sizes, config)
    tables = [starcoder_inspections()] if config.extension_rules == "starcoder" else []
    if config.inspection_file is not None:
        tables.append(read_inspections(workspace / config.inspection_file))
    tokenizer = config.characters_per_token
    return QualityRules(
        config=config,
        choices=choices,
        verdicts=verdicts_of(tables),
        tokenizer_json=_tokenizer_json(workspace / tokenizer.tokenizer_file) if tokenizer else None,
    )


def _thinned(
    config: FilterQualityConfig, passed: MapOutcome, place: Path, out: Path, work_dir: Path
) -> tuple[FilesCounts, dict[str, float]]:
    """Write under `out` what the caps leave of the files under `place`; the counts of both steps together."""
    caps = caps_of(read_files(place, COLUMNS), config)
    if not caps:
        _move(place, FILES, out, 0)
        _move(place, DROPPED, out, 0)
        return passed.files, {}
    thinned = map_shards(partial(thin_batch, caps=caps, seed=config.seed), [place], out, work_dir / "thin")
    _move(place, DROPPED, out, len(shards_of(out, DROPPED)))
    shares = {cap.language: round(cap.threshold / 2**64, 6) for cap in caps}
    return passed.files.model_copy(update={"kept_files": 0, "kept_bytes": 0}).plus(thinned.files), shares


def _move(place: Path, format: TableFormat, out: Path, first: int) -> None:
    for index, shard in enumerate(shards_of(place, format)):
        shutil.move(shard, format.path(out, first + index))


def _bytes_by_language(batches: Iterable[pa.RecordBatch]) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for batch in batches:
        for language, size_bytes in zip(*(batch.column(name).to_pylist() for name in batch.schema.names), strict=True):
            if language is not None:
                sizes[language] += size_bytes
    return dict(sorted(sizes.items()))


def _tokenizer_json(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_TOKENIZER_BYTES:
            raise SourceError(f"{path} is larger than {_MAX_TOKENIZER_BYTES} bytes, which no tokenizer.json is")
        text = path.read_text("utf-8")
        tokenizer_of(text)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(
            f"filter_quality.characters_per_token.tokenizer_file {path} cannot be read ({reason}); name a "
            "tokenizer.json that exists before this pipeline runs"
        ) from None
    return text
