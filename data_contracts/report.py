"""What a check found: one verdict, one result per expectation, the rows that broke it.

Deterministic: the same artifact and contract give the same report, so it may stand in a record. Values come
from hostile files; `plain` makes each fit for a terminal before it enters the report.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from data_contracts.expectations import Severity

MAX_EXAMPLES = 5
"""Failing rows that a result names."""
_MAX_VALUE_CHARS = 120

Verdict = Literal["passed", "warned", "blocked"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FailingRow(_Frozen):
    """A row that breaks an expectation."""

    key: tuple[str, ...]
    """Values of the view's key columns, for example repository and path."""
    value: str
    """What it holds; of a comparison, both columns with their names."""

    @property
    def text(self) -> str:
        """The row for a person, for example "python/cpython:Lib/os.py (0)"."""
        return f"{':'.join(self.key)} ({self.value})"


class ExpectationResult(_Frozen):
    """What became of one expectation."""

    view: str
    text: str
    severity: Severity
    why: str
    success: bool
    observed: str
    rows: int
    """Rows it was checked on."""
    failing_rows: int
    """Rows that break it; 0 where it speaks of the whole view."""
    examples: tuple[FailingRow, ...]
    """The first failing rows in the view's order, at most MAX_EXAMPLES."""

    @property
    def failing_fraction(self) -> float:
        """Share of the rows that break it, 0..1."""
        return self.failing_rows / self.rows if self.rows else 0.0

    @property
    def sentence(self) -> str:
        """The expectation with what was found instead."""
        return f"{self.text}: {self.observed}"


class ViewSize(_Frozen):
    """How much of the artifact a view looked at."""

    view: str
    rows: int
    """Rows that were checked."""
    rows_total: int
    """Rows there are; more than `rows` if those are a sample."""


class ContractReport(_Frozen):
    """The outcome of checking one artifact against its contract."""

    artifact: str
    contract_digest: str
    verdict: Verdict
    views: tuple[ViewSize, ...]
    results: tuple[ExpectationResult, ...]
    """In the contract's order."""
    unchecked: tuple[str, ...]
    """Views that were not checked: the upstream artifact they compare with was not at hand."""

    @property
    def blocked(self) -> bool:
        """Whether the artifact must not be published."""
        return self.verdict == "blocked"

    @property
    def failures(self) -> tuple[ExpectationResult, ...]:
        """Broken expectations, blocking ones first."""
        broken = [result for result in self.results if not result.success]
        return tuple(sorted(broken, key=lambda result: result.severity is Severity.WARN))

    def sentence(self) -> str:
        """The verdict in one line, with the first broken expectation and a row that breaks it."""
        if not self.failures:
            return f"contract of {self.artifact} holds: {len(self.results)} expectations"
        more = len(self.failures) - 1
        others = f" (and {more} more broken)" if more else ""
        how = "broken" if self.blocked else "holds with a warning"
        first = self.failures[0]
        example = f", for example {first.examples[0].text}" if first.examples else ""
        return f"contract of {self.artifact} {how}: {first.sentence}{example}{others}"

    def to_markdown(self) -> str:
        """The report as a Markdown section: the verdict, what is broken and why it matters, then every expectation."""
        lines = [f"## {self.artifact}: {self.verdict}", ""]
        for result in self.failures:
            lines += [f"- **{result.severity.value}** {_escaped(result.sentence)}. {_escaped(result.why)}"]
            lines += [f"  - {_escaped(row.text)}" for row in result.examples]
        lines += [""] if self.failures else []
        lines += ["| view | expectation | severity | outcome |", "|---|---|---|---|"]
        for result in self.results:
            outcome = result.observed if result.success else f"BROKEN: {result.observed}"
            cells = (result.view, result.text, result.severity.value, outcome)
            lines.append(f"| {' | '.join(_escaped(cell) for cell in cells)} |")
        sizes = [f"{size.view} {size.rows:,} of {size.rows_total:,}" for size in self.views]
        lines += ["", f"Rows checked: {', '.join(sizes)}. Contract {self.contract_digest[:12]}."]
        lines += [f"Not checked for want of the upstream artifact: {_escaped(view)}." for view in self.unchecked]
        return "\n".join(lines) + "\n"


def verdict_of(results: Sequence[ExpectationResult]) -> Verdict:
    """Blocked by any broken blocking expectation, warned by any other broken one."""
    broken = {result.severity for result in results if not result.success}
    if Severity.BLOCK in broken:
        return "blocked"
    return "warned" if broken else "passed"


def plain(value: Any) -> str:
    """A value as one short printable line: control characters are escaped, missing values are "null"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else f"{value:.6g}"
    text = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(value)[: _MAX_VALUE_CHARS + 1]
    )
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}..."


def _escaped(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#" else character for character in text)
