"""The format of `report.json`: what was measured of a model, on what. Fractions lie within 0 and 1.

Figures are rounded to six decimals, below what the next release of a numerical library may change.
A share of nothing is 0; the counts beside it say so.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from components.fingerprint import canonical_json

REPORT_FILE = "report.json"

Figure = Annotated[float, AfterValidator(lambda value: round(value, 6))]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldOut(_Part):
    """The text that bits per byte are measured on: whole files that were not trained on."""

    files: int
    bytes: int
    tokens: int


class Baseline(_Part):
    """The counting model on the same files."""

    name: str
    order: int
    """Bytes of context."""
    bits_per_byte: Figure


class LanguageScore(_Part):
    """The share of one language."""

    language: str
    files: int
    bytes: int
    bits_per_byte: Figure
    baseline_bits_per_byte: Figure


class ProblemScore(_Part):
    """Programming problems, read and continued, never run."""

    count: int
    solution_bits_per_byte: Figure
    """Of the canonical solutions, given their prompts."""
    syntax_valid_fraction: Figure
    """Of the Python problems: greedy continuations that parse."""


class FillInMiddleScore(_Part):
    """Single held-out lines, filled in between what stands before and after them."""

    cases: int
    exact_match_fraction: Figure


class EvalReport(_Part):
    """All of it."""

    format: Literal[1]
    split: str
    held_out: HeldOut
    bits_per_byte: Figure
    perplexity_per_token: Figure
    baseline: Baseline
    per_language: tuple[LanguageScore, ...]
    """In alphabetic order."""
    problems: ProblemScore
    fill_in_middle: FillInMiddleScore


def write_report(report: EvalReport, out: Path) -> None:
    """Write `report.json` under `out` as canonical JSON."""
    (out / REPORT_FILE).write_bytes(canonical_json(report.model_dump(mode="json")) + b"\n")
