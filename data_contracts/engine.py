"""Checks an artifact against its contract: the one file that speaks to Great Expectations.

It translates our vocabulary, runs it in a context that lives in memory, and translates the results back. The
verdict comes from the severities of what is broken, never from Great Expectations' `success`, which is false
for a warning too. Importing this costs about three seconds of processor time; the rest of the package does not.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gx_expectations
import pyarrow as pa
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaSectionView

from data_contracts.contract import Contract
from data_contracts.expectations import (
    Between,
    Equal,
    Expectation,
    HasColumns,
    InSet,
    MatchesPattern,
    NeverAbove,
    NotNull,
    RowCountBetween,
    Severity,
    SumBetween,
    UniqueKey,
)
from data_contracts.report import (
    MAX_EXAMPLES,
    ContractReport,
    ExpectationResult,
    FailingRow,
    ViewSize,
    plain,
    verdict_of,
)
from data_contracts.report_page import page_of
from data_contracts.views import STRUCTURE_KEY, LoadedView, ViewLoader

gxe: Any = gx_expectations
_SEVERITY = {Severity.BLOCK: "critical", Severity.WARN: "warning"}


def check(
    contract: Contract, artifact_dir: Path, docs_dir: Path, upstream: Mapping[str, Path] | None = None
) -> ContractReport:
    """Check the artifact in `artifact_dir`; the data docs go to `docs_dir/ARTIFACT/index.html`.

    `upstream` holds the directories of artifacts that this one was made from; a comparison with one that it
    lacks is reported as not checked. Files that are missing, corrupt or of another shape break the contract;
    OSError only where the data docs cannot be written.
    """
    loader = ViewLoader(artifact_dir, upstream or {})
    checkable = [view for view in contract.views if loader.can_load(view)]
    source, page_view = _memory_source(), DefaultJinjaSectionView()
    results: list[ExpectationResult] = []
    sizes: list[ViewSize] = []
    details: dict[str, str] = {}
    for view in checkable:
        loaded = loader.load(view)
        validations = _validate_view(source, loaded)
        results += _results(loaded, validations)
        sizes.append(ViewSize(view=view.name, rows=loaded.table.num_rows, rows_total=loaded.num_rows_total))
        details[view.name] = "".join(_tables(page_view, validation) for validation in validations)
    report = ContractReport(
        artifact=contract.artifact,
        contract_digest=contract.digest,
        verdict=verdict_of(results),
        views=tuple(sizes),
        results=tuple(results),
        unchecked=tuple(view.name for view in contract.views if view not in checkable),
    )
    page = docs_dir / contract.artifact / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(contract, report, details), "utf-8")
    return report


def _memory_source() -> Any:
    """A source for data frames in a context without files: no stores, no site in the temporary directory, no bars."""
    context: Any = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        ),
    )
    return context.data_sources.add_pandas("artifact")


def _validate_view(source: Any, loaded: LoadedView) -> list[Any]:
    """Great Expectations' results: on the files, where the view declares columns, then on the rows."""
    name = loaded.view.name
    numbered = list(enumerate(loaded.view.expectations))
    of_files = [(number, expected) for number, expected in numbered if isinstance(expected, HasColumns)]
    of_rows = [(number, expected) for number, expected in numbered if not isinstance(expected, HasColumns)]
    validations: list[Any] = []
    if loaded.structure is not None:
        validations.append(_validate(source, f"{name}.files", loaded.structure, STRUCTURE_KEY, of_files))
    validations.append(_validate(source, name, loaded.table, loaded.view.key, of_rows))
    return validations


def _validate(
    source: Any, name: str, table: pa.Table, key: Sequence[str], expectations: Sequence[tuple[int, Expectation]]
) -> Any:
    batches = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    suite = gx.ExpectationSuite(name, [_translated(expected, number) for number, expected in expectations])
    result_format = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": list(key),
        "partial_unexpected_count": MAX_EXAMPLES,
    }
    return batches.get_batch({"dataframe": _frame(table, expectations)}).validate(suite, result_format=result_format)


def _frame(table: pa.Table, expectations: Sequence[tuple[int, Expectation]]) -> Any:
    frame: Any = table.to_pandas()
    for _, expected in expectations:
        if isinstance(expected, Equal) and expected.times != 1:
            frame[_multiple(expected)] = frame[expected.other] * expected.times
    return frame


def _multiple(expected: Equal) -> str:
    return expected.other if expected.times == 1 else f"{expected.times} x {expected.other}"


def _translated(expected: Expectation, number: int) -> Any:
    """Our expectation as Great Expectations' own; `number` comes back with the outcome."""
    common: Any = {
        "severity": _SEVERITY[expected.severity],
        "description": expected.text,
        "notes": expected.why,
        "meta": {"number": number},
    }
    either = "either_value_is_missing"
    match expected:
        case HasColumns():
            return gxe.ExpectColumnPairValuesToBeEqual(column_A="found", column_B="declared", **common)
        case NotNull(column=column, at_least_fraction=share):
            return gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=share, **common)
        case UniqueKey(key=(column,)):
            return gxe.ExpectColumnValuesToBeUnique(column=column, **common)
        case UniqueKey(key=key):
            return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(key), **common)
        case Between(column=column, minimum=low, maximum=high, at_least_fraction=share):
            return gxe.ExpectColumnValuesToBeBetween(
                column=column, min_value=low, max_value=high, mostly=share, **common
            )
        case InSet(column=column, allowed=allowed, at_least_fraction=share):
            return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(allowed), mostly=share, **common)
        case MatchesPattern(column=column, pattern=pattern, at_least_fraction=share):
            whole = rf"(?s)\A(?:{pattern})\Z"
            return gxe.ExpectColumnValuesToMatchRegex(column=column, regex=whole, mostly=share, **common)
        case NeverAbove(column=column, ceiling=ceiling):
            return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=ceiling, column_B=column, or_equal=True, ignore_row_if=either, **common
            )
        case Equal(column=column):
            return gxe.ExpectColumnPairValuesToBeEqual(
                column_A=column, column_B=_multiple(expected), ignore_row_if=either, **common
            )
        case RowCountBetween(minimum=low, maximum=high):
            return gxe.ExpectTableRowCountToBeBetween(min_value=low, max_value=high, **common)
        case SumBetween(column=column, minimum=low, maximum=high):
            return gxe.ExpectColumnSumToBeBetween(column=column, min_value=low, max_value=high, **common)


def _results(loaded: LoadedView, validations: Sequence[Any]) -> list[ExpectationResult]:
    """In the contract's order; Great Expectations groups by column."""
    outcomes = {
        outcome.expectation_config.meta["number"]: dict(outcome.result) | {"success": outcome.success}
        for validation in validations
        for outcome in validation.results
    }
    return [_result(loaded, expected, outcomes[number]) for number, expected in enumerate(loaded.view.expectations)]


def _result(loaded: LoadedView, expected: Expectation, outcome: Mapping[str, Any]) -> ExpectationResult:
    is_structure = isinstance(expected, HasColumns)
    key = STRUCTURE_KEY if is_structure else loaded.view.key
    examples = outcome.get("partial_unexpected_index_list") or ()
    return ExpectationResult(
        view=loaded.view.name,
        text=expected.text,
        severity=expected.severity,
        why=expected.why,
        success=bool(outcome["success"]),
        observed=_observed(loaded, outcome, "columns" if is_structure else "rows"),
        rows=int(outcome.get("element_count", loaded.table.num_rows)),
        failing_rows=int(outcome.get("unexpected_count", 0)),
        examples=tuple(_failing_row(expected, key, found) for found in examples),
    )


def _observed(loaded: LoadedView, outcome: Mapping[str, Any], what: str) -> str:
    name = loaded.view.name
    if "unexpected_count" in outcome:
        failing, rows = int(outcome["unexpected_count"]), int(outcome["element_count"])
        sampled = "sampled " if what == "rows" and rows < loaded.num_rows_total else ""
        if failing:
            return f"{failing:,} of {rows:,} {sampled}{what} of {name} fail"
        return f"none of {rows:,} {sampled}{what} of {name} fail"
    if "observed_value" in outcome:
        return f"it is {plain(outcome['observed_value'])} in {name}"
    return f"it could not be evaluated on {name}"


def _failing_row(expected: Expectation, key: Sequence[str], found: Mapping[str, Any]) -> FailingRow:
    match expected:
        case HasColumns():
            columns = ("declared", "found")
        case Equal():
            columns = (expected.column, _multiple(expected))
        case _:
            columns = expected.columns
    values = [plain(found[column]) for column in columns]
    named = [f"{column} {value}" for column, value in zip(columns, values, strict=True)]
    return FailingRow(
        key=tuple(plain(found[column]) for column in key), value=values[0] if len(values) == 1 else ", ".join(named)
    )


def _escaped(value: Any) -> Any:
    """The same structure with every string, and every key, safe inside HTML."""
    match value:
        case str():
            return escape(plain(value))
        case dict():
            return {_escaped(key): _escaped(item) for key, item in value.items()}
        case list() | tuple():
            return [_escaped(item) for item in value]
        case _:
            return value


def _tables(view: Any, validation: Any) -> str:
    """Great Expectations' tables as HTML, without its overview and its clock."""
    for outcome in validation.results:
        # Its templates write some of these values into the page as they are.
        outcome.result = _escaped(outcome.result)
    document: Any = ValidationResultsPageRenderer(run_info_at_end=True).render(validation)
    return "".join(
        view.render({"section": section.to_json_dict(), "section_loop": {"index": number}})
        for number, section in enumerate(document.sections[1:-1], start=1)
    )
