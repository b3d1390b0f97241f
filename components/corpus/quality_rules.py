"""The rules that a file may fail, as a table in the order in which they are asked; the first that fails is the reason.

Cheap ones come first, and each is asked only of the files that are still standing: what a later rule has to measure
(visible text, comments, tokens) is measured for those alone.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import re2
from numpy.typing import NDArray

from components.corpus.comment_text import comment_chars
from components.corpus.encoded_data import find_encoded_data
from components.corpus.language_selection import Choice
from components.corpus.measure_text import TextMeasures, measure_text
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_limits import BatchLimits, Verdicts, limits_of_batch
from components.corpus.tokenizer_yield import characters_per_token
from components.corpus.visible_text import visible_chars
from components.tables import text_buffers

XML_DECLARATION = "<?xml version="
NOTEBOOK = ".ipynb"

_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class QualityRules:
    """All that the rules need to know beside the files; goes to every worker."""

    config: FilterQualityConfig
    choices: Mapping[str, Choice]
    """What `select_languages` gave."""
    verdicts: Verdicts
    tokenizer_json: str | None


@dataclass(frozen=True)
class Failed:
    """The rows that fail a rule: what was observed in each, what is allowed, what else explains it."""

    rows: NDArray[np.int64]
    values: Sequence[str]
    thresholds: Sequence[str]
    details: Sequence[str] = ()


@dataclass
class Asked:
    """A batch of CODE_FILES that the rules are asked of."""

    batch: pa.RecordBatch
    rules: QualityRules
    standing: NDArray[np.int64] = field(init=False)
    """Row numbers of the files that failed none yet."""

    def __post_init__(self) -> None:
        self.standing = np.arange(self.batch.num_rows)

    @property
    def config(self) -> FilterQualityConfig:
        """The numbers."""
        return self.rules.config

    @cached_property
    def limits(self) -> BatchLimits:
        """Of every row."""
        return limits_of_batch(self.batch, self.rules.config, self.rules.verdicts)

    @cached_property
    def measures(self) -> TextMeasures:
        """Of the rows that stand when it is first asked for."""
        return measure_text(self.batch, self.standing)

    @cached_property
    def languages(self) -> list[str | None]:
        """Of every row."""
        return self.batch.column("language").to_pylist()

    def standing_in(self, languages: Sequence[str]) -> NDArray[np.int64]:
        """Those of the standing rows that are in one of these languages."""
        return np.array([row for row in self.standing if self.languages[row] in languages], np.int64)

    def text(self, row: int) -> bytes:
        """The content of one row, copied."""
        data, offsets = text_buffers(self.batch)
        return data[offsets[row] : offsets[row + 1]].tobytes()


def ask_rules(asked: Asked) -> list[tuple[str, Failed]]:
    """Ask every rule in turn, taking what fails from `asked.standing`."""
    answers: list[tuple[str, Failed]] = []
    for name, rule in RULES:
        failed = rule(asked)
        if len(failed.rows):
            asked.standing = np.setdiff1d(asked.standing, failed.rows, assume_unique=True)
            answers.append((name, failed))
    return answers


_NONE = Failed(np.zeros(0, np.int64), (), ())


def _notebook(asked: Asked) -> Failed:
    extensions = asked.batch.column("extension").to_pylist()
    rows = np.array([row for row in asked.standing if extensions[row] == NOTEBOOK], np.int64)
    return Failed(
        rows, [NOTEBOOK] * len(rows), ["another ending"] * len(rows), ["read by convert_notebooks"] * len(rows)
    )


def _language(asked: Asked) -> Failed:
    unknown = Choice(False, "its name does not tell the language")
    choices = [asked.rules.choices.get(asked.languages[row] or "", unknown) for row in asked.standing]
    out = [(row, choice) for row, choice in zip(asked.standing, choices, strict=True) if not choice.is_kept]
    rows = np.array([row for row, _ in out], np.int64)
    names = [asked.languages[row] or "unknown" for row in rows]
    return Failed(rows, names, ["a language of filter_quality.languages"] * len(rows), [why.reason for _, why in out])


def _extension(asked: Asked) -> Failed:
    verdicts = [kind.excluded_by for kind in asked.limits.kinds]
    kind_of_row = asked.limits.kind_of_row
    rows = asked.standing[
        np.array([verdict is not None for verdict in verdicts], np.bool_)[kind_of_row[asked.standing]]
    ]
    found = [verdict for row in rows if (verdict := verdicts[kind_of_row[row]]) is not None]
    values = [f"{verdict.extension or 'no ending'} of {verdict.language}" for verdict in found]
    details = [" ".join(filter(None, (each.reviewer, each.date, each.comment))) for each in found]
    return Failed(rows, values, ["not excluded at inspection"] * len(rows), details)


def _stars(asked: Asked) -> Failed:
    limit = asked.config.stars_above
    if limit is None:
        return _NONE
    stars = asked.batch.column("stars").to_pylist()
    rows = asked.standing[[(stars[row] or 0) <= limit for row in asked.standing]]
    values = ["unknown" if stars[row] is None else str(stars[row]) for row in rows]
    return Failed(rows, values, [f"more than {limit}"] * len(rows))


def _max_lines(asked: Asked) -> Failed:
    return _above(asked, asked.measures.num_lines, "max_lines")


def _max_line_length(asked: Asked) -> Failed:
    return _above(asked, asked.measures.max_line_chars, "max_line_chars")


def _mean_line_length(asked: Asked) -> Failed:
    return _above(asked, asked.measures.mean_line_chars, "max_mean_line_chars")


def _alphanumeric(asked: Asked) -> Failed:
    return _below(asked, asked.measures.alphanumeric_fraction, "min_alphanumeric_fraction")


def _alphabetic(asked: Asked) -> Failed:
    return _below(asked, asked.measures.alphabetic_fraction, "min_alphabetic_fraction")


def _letters_and_digits(asked: Asked) -> Failed:
    return _below(asked, asked.measures.alphanumeric_fraction, "min_letters_and_digits_fraction")


def _xml_declaration(asked: Asked) -> Failed:
    window = asked.config.xml_declaration_window_chars
    if window == 0:
        return _NONE
    beginning = _compute.utf8_slice_codeunits(asked.batch.column("content"), 0, window)
    has_declaration = _compute.match_substring(beginning, XML_DECLARATION).to_numpy(zero_copy_only=False)
    is_asked = asked.limits.column("xml_window_chars") > 0
    rows = asked.standing[(has_declaration & is_asked)[asked.standing]]
    return Failed(rows, [XML_DECLARATION] * len(rows), [f"not in the first {window} characters"] * len(rows))


def _data_file_size(asked: Asked) -> Failed:
    rule = asked.config.data_files
    if rule is None:
        return _NONE
    rows = asked.standing_in(rule.languages)
    chars = asked.measures.num_chars
    rows = rows[(chars[rows] < rule.min_chars) | (chars[rows] > rule.max_chars)]
    return Failed(rows, _told(chars[rows]), [f"{rule.min_chars} to {rule.max_chars} characters"] * len(rows))


def _data_file_letters(asked: Asked) -> Failed:
    rule = asked.config.data_files
    if rule is None:
        return _NONE
    rows = asked.standing_in(rule.languages)
    share = asked.measures.alphabetic_fraction
    rows = rows[share[rows] < rule.min_alphabetic_fraction]
    return Failed(rows, _told(share[rows]), [str(rule.min_alphabetic_fraction)] * len(rows))


def _text_file_name(asked: Asked) -> Failed:
    rule = asked.config.text_files
    if rule is None:
        return _NONE
    paths = asked.batch.column("path").to_pylist()
    names = {row: posixpath.basename(paths[row]).lower() for row in asked.standing_in(("text",))}
    out = [
        row
        for row, name in names.items()
        if posixpath.splitext(name)[0] not in rule.stems and not any(part in name for part in rule.names_with)
    ]
    allowed = ", ".join((*rule.stems, *(f"*{part}*" for part in rule.names_with)))
    return Failed(np.array(out, np.int64), [names[row] for row in out], [allowed] * len(out))


def _autogenerated(asked: Asked) -> Failed:
    rule = asked.config.autogenerated
    if rule is None:
        return _NONE
    pattern, heads = _phrases(rule.phrases), asked.measures.head_bytes
    data, offsets = text_buffers(asked.batch)
    found = {row: pattern.search(data[offsets[row] : offsets[row] + heads[row]].tobytes()) for row in asked.standing}
    out = {row: match.group().decode("utf-8", "replace") for row, match in found.items() if match}
    return Failed(np.array(list(out), np.int64), list(out.values()), ["not in the first 5 lines"] * len(out))


def _encoded_data(asked: Asked) -> Failed:
    rule = asked.config.encoded_data
    if rule is None:
        return _NONE
    rows, found = asked.standing, find_encoded_data(asked.batch, asked.standing)
    share = found.matched_chars / np.maximum(asked.measures.num_chars, 1)
    is_long, is_much = found.max_match_chars[rows] > rule.max_match_chars, share[rows] > rule.max_fraction
    values = np.where(is_long, _told(found.max_match_chars[rows]), _told(share[rows]))
    allowed = np.where(is_long, f"a run of {rule.max_match_chars} characters", f"a share of {rule.max_fraction}")
    bad = is_long | is_much
    return Failed(rows[bad], values[bad].tolist(), allowed[bad].tolist())


def _html_visible_text(asked: Asked) -> Failed:
    rule = asked.config.html
    if rule is None:
        return _NONE
    allowed = f"{'more than' if rule.at_limit == 'drop' else 'at least'} {rule.min_chars} and {rule.min_fraction}"
    out: dict[int, tuple[str, str]] = {}
    for row in asked.standing_in(("html",)):
        visible = visible_chars(asked.text(row))
        if isinstance(visible, str):
            out[row] = ("unreadable", visible)
            continue
        share = visible / max(1, asked.measures.num_chars[row])
        strict = rule.at_limit == "drop"
        is_enough = (
            (visible > rule.min_chars and share > rule.min_fraction)
            if strict
            else (visible >= rule.min_chars and share >= rule.min_fraction)
        )
        if not is_enough:
            out[row] = (f"{visible} and {share:.4f}", "")
    values, details = ([pair[index] for pair in out.values()] for index in (0, 1))
    return Failed(np.array(list(out), np.int64), values, [f"{allowed} of all characters"] * len(out), details)


def _comment_fraction(asked: Asked) -> Failed:
    rule = asked.config.comments
    if rule is None:
        return _NONE
    out: dict[int, str] = {}
    for language in rule.languages:
        rows = asked.standing_in((language,))
        share = comment_chars(asked.batch, rows, language) / np.maximum(asked.measures.num_chars, 1)
        bad = rows[(share[rows] <= rule.above_fraction) | (share[rows] >= rule.below_fraction)]
        out |= dict(zip(bad.tolist(), _told(share[bad]), strict=True))
    rows = np.array(sorted(out), np.int64)
    allowed = f"above {rule.above_fraction} and below {rule.below_fraction}"
    return Failed(rows, [out[row] for row in rows], [allowed] * len(rows))


def _characters_per_token(asked: Asked) -> Failed:
    rule, tokenizer_json = asked.config.characters_per_token, asked.rules.tokenizer_json
    if rule is None or tokenizer_json is None:
        return _NONE
    rows = asked.standing_in(tuple(rule.minimum))
    shares = characters_per_token((asked.text(row).decode() for row in rows), tokenizer_json)
    least = [rule.minimum[asked.languages[row] or ""] for row in rows]
    out = [(row, share, limit) for row, share, limit in zip(rows, shares, least, strict=True) if share < limit]
    chosen = np.array([row for row, _, _ in out], np.int64)
    return Failed(chosen, [f"{share:.4f}" for _, share, _ in out], [str(limit) for _, _, limit in out])


def _bidi_controls(asked: Asked) -> Failed:
    return _hidden(asked, asked.measures.num_bidi_controls, "no bidirectional control")


def _nul(asked: Asked) -> Failed:
    return _hidden(asked, asked.measures.num_nul, "no NUL")


def _hidden(asked: Asked, counts: NDArray[np.int64], allowed: str) -> Failed:
    if asked.config.hidden_characters == "keep":
        return _NONE
    rows = asked.standing[counts[asked.standing] > 0]
    return Failed(rows, _told(counts[rows]), [allowed] * len(rows))


RULES: tuple[tuple[str, Callable[[Asked], Failed]], ...] = (
    ("notebook", _notebook),
    ("language", _language),
    ("extension_excluded", _extension),
    ("stars", _stars),
    ("text_file_name", _text_file_name),
    ("max_lines", _max_lines),
    ("max_line_length", _max_line_length),
    ("mean_line_length", _mean_line_length),
    ("alphanumeric_fraction", _alphanumeric),
    ("alphabetic_fraction", _alphabetic),
    ("alphanumeric_fraction", _letters_and_digits),
    ("xml_declaration", _xml_declaration),
    ("data_file_size", _data_file_size),
    ("alphabetic_fraction", _data_file_letters),
    ("autogenerated", _autogenerated),
    ("encoded_data", _encoded_data),
    ("html_visible_text", _html_visible_text),
    ("comment_fraction", _comment_fraction),
    ("characters_per_token", _characters_per_token),
    ("bidi_controls", _bidi_controls),
    ("nul", _nul),
)
"""Each under the name that a dropped file bears."""


def _above(asked: Asked, measured: NDArray[Any], limit: str) -> Failed:
    return _beyond(asked, measured, limit, lambda value, most: value > most)


def _below(asked: Asked, measured: NDArray[Any], limit: str) -> Failed:
    return _beyond(asked, measured, limit, lambda value, least: value < least)


def _beyond(asked: Asked, measured: NDArray[Any], limit: str, is_beyond: Callable[[Any, Any], Any]) -> Failed:
    limits = asked.limits.column(limit)
    rows = asked.standing[is_beyond(measured[asked.standing], limits[asked.standing])]
    return Failed(rows, _told(measured[rows]), [f"{each:.10g}" for each in limits[rows]])


def _told(numbers: NDArray[Any]) -> list[str]:
    """Whole numbers as they are, shares with four places."""
    return [f"{each:.4f}" if isinstance(each, float) else str(each) for each in numbers.tolist()]


@cache
def _phrases(phrases: tuple[str, ...]) -> Any:
    """One pattern of all of them, over bytes, without regard to case."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.case_sensitive = False
    return re2.compile("|".join(re2.escape(phrase) for phrase in phrases).encode(), options)
