"""Which limits hold for a file: its language's, its ending's, its reviewers'; held to the reference's own table."""

import csv
import math
from pathlib import Path

import pyarrow as pa
import pytest

from components.corpus.inspection_table import Inspection, starcoder_inspections
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_limits import limits_of, limits_of_batch, verdicts_of
from components.corpus.quality_presets import PRESETS

REFERENCE = Path("../shared/data/bigcode/extension_thresholds.csv")


def config(preset="starcoder", **changes):
    raw = {
        "recipe": 1,
        "languages": {"select": "starcoder"},
        "max_bytes_by_language": {},
        "keep_fraction_by_language": {},
        "seed": 0,
        "content_model": "none",
        "hidden_characters": "keep",
        "inspection_file": None,
    }
    return FilterQualityConfig.model_validate(raw | PRESETS[preset] | changes)


STARCODER = verdicts_of([starcoder_inspections()])


def number(cell):
    """What the reference code makes of a cell."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def same(ours, theirs):
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def test_the_limits_of_every_ending_are_those_of_the_reference():
    if not REFERENCE.exists():
        pytest.skip("BigCode's tables are not beside the repository")
    with REFERENCE.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["language"]]
    parameters, differing = config(), []
    for row in rows:
        language = {"c++": "cpp"}.get(row["language"], row["language"])
        extension = f".{row['extension']}" if row["extension"] else ""
        ours = limits_of(language, extension, parameters, STARCODER)
        if row["Include"] != "1":
            agrees = ours.excluded_by is not None
        else:
            longest = number(row["Long_line_threshold"])
            # Letters of data formats are the config's `data_files`.
            alphabetic = math.nan if language in ("json", "yaml") else number(row["Alpha filter"])
            agrees = (
                ours.excluded_by is None
                and same(ours.max_line_chars, longest)
                and same(ours.max_mean_line_chars, math.nan if math.isnan(longest) else 100.0)
                and same(ours.min_alphanumeric_fraction, number(row["Alphanum_threshold"]))
                and same(ours.min_alphabetic_fraction, alphabetic)
                and (ours.xml_window_chars > 0) == (row["XML filter"] == "1")
            )
        if not agrees:
            differing.append((language, extension))

    assert len(rows) > 300
    assert differing == [("racket", ".rkt")]


def test_the_rules_for_near_duplicates_are_those_of_the_reference():
    if not REFERENCE.exists():
        pytest.skip("BigCode's tables are not beside the repository")
    with REFERENCE.open(encoding="utf-8") as file:
        settings = {f".{row['extension']}": row["Near-dedup settings"] for row in csv.DictReader(file)}
    told = {
        row.extension: f"ngram_size: {row.near_duplicate_ngram}, num_perm: 256, threshold: {row.near_duplicate_jaccard}"
        for row in STARCODER.values()
        if row.near_duplicate_ngram is not None
    }

    # One more cell says "remove" (.dfm), which names no number.
    assert told == {extension: setting for extension, setting in settings.items() if "ngram" in setting}


def test_racket_is_not_lost_for_an_empty_cell():
    """The reference's reviewer asked for Racket's main ending and left its flag empty, which the code takes for no."""
    assert limits_of("racket", ".rkt", config(), STARCODER).excluded_by is None


def test_an_ending_that_no_table_names_is_not_lost():
    """The reference excluded what its table lacked: every Dockerfile without an ending."""
    for extension in ("", ".dev"):
        limits = limits_of("dockerfile", extension, config(), STARCODER)
        assert (limits.excluded_by, limits.max_line_chars) == (None, 1000.0)


def test_a_reviewers_own_verdict_goes_before_starcoders():
    own = [
        Inspection("perl", ".ph", "include", max_line_chars=300),
        Inspection("markdown", ".md", "exclude", "ada"),
        Inspection("stata", ".do", "include", min_alphabetic_fraction=0.1),
    ]
    verdicts = verdicts_of([starcoder_inspections(), own])

    header = limits_of("perl", ".ph", config(), verdicts)
    assert (header.excluded_by, header.max_line_chars, header.max_mean_line_chars) == (None, 300.0, 100.0)
    assert limits_of("markdown", ".md", config(), verdicts).excluded_by == Inspection(
        "markdown", ".md", "exclude", "ada", max_line_chars="off"
    )
    stata = limits_of("stata", ".do", config(), verdicts)
    assert (math.isnan(stata.max_line_chars), stata.min_alphabetic_fraction) == (True, 0.1)


def test_starcoder2s_exemptions():
    parameters = config("starcoder2")
    prose, code, wasm = (
        limits_of(*pair, parameters, {}) for pair in (("text", ".txt"), ("c", ".c"), ("webassembly", ".wat"))
    )

    assert (prose.max_line_chars, math.isnan(prose.max_mean_line_chars), prose.max_lines) == (100_000.0, True, 512.0)
    assert (code.max_line_chars, code.max_mean_line_chars, code.max_lines) == (1000.0, 100.0, 100_000.0)
    assert (code.min_alphabetic_fraction, math.isnan(code.min_letters_and_digits_fraction)) == (0.25, True)
    assert (math.isnan(wasm.min_alphabetic_fraction), wasm.min_letters_and_digits_fraction) == (True, 0.25)


def test_a_batch_has_the_limits_of_each_row():
    rows = [("glsl", ".fsh"), (None, ".m"), ("glsl", ".fsh"), ("glsl", ".geo"), ("tex", ".tex")]
    batch = pa.RecordBatch.from_pydict(
        {"language": pa.array([row[0] for row in rows], pa.string()), "extension": [row[1] for row in rows]}
    )
    limits = limits_of_batch(batch, config(), STARCODER)

    assert limits.column("max_line_chars").tolist()[:4] == [500.0, 1000.0, 500.0, 1000.0]
    assert math.isnan(limits.column("max_line_chars")[4])
    assert [limits.kinds[kind].excluded_by is not None for kind in limits.kind_of_row] == [False] * 3 + [True, False]
    assert limits_of_batch(batch.slice(0, 0), config(), STARCODER).column("max_lines").tolist() == []
