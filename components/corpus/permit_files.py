"""The gate of governance: what licence and owner permit goes on, of all kinds of text together, as one table.

Opt-outs are asked here once more, though every step that collects has asked them: an artifact that was brought back
from an older data version was collected under an older list.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.corpus.config import PermitFilesConfig
from components.corpus.license_policy import LicensePolicy, license_categories
from components.errors import EmptyArtifactError, ParamsError
from components.section import Summary
from components.shard_map import Mapped, map_shards
from components.sources.opt_outs import OptOuts, read_opt_outs
from components.tables import FilesCounts, dropped_rows


class PermitFilesSummary(Summary):
    """What was let through."""

    files: FilesCounts
    files_by_kind: dict[str, int]
    files_by_license: dict[str, int]
    """Kept files per SPDX expression, "unknown" where there is none. Both in alphabetical order."""


def run(
    config: PermitFilesConfig,
    *,
    quality_files: Path,
    notebook_files: Path,
    issue_files: Path,
    commit_files: Path,
    opt_outs: Path,
    out: Path,
    work_dir: Path,
) -> PermitFilesSummary:
    """Write permitted_files: files, then notebooks, issues, commits, each in its order.

    Raises ParamsError for a category that no licence has, EmptyArtifactError if nothing is permitted.
    """
    _require_known_categories(config)
    function = partial(permit_batch, config=config, opt_outs=read_opt_outs(opt_outs))
    outcome = map_shards(function, [quality_files, notebook_files, issue_files, commit_files], out, work_dir)
    if outcome.files.kept_files == 0:
        raise EmptyArtifactError(
            f"permit_files permits none of {outcome.files.dropped_files} files (dropped: "
            f"{outcome.files.rules_told()}); declare the licences of the sources, or permit what they have"
        )
    return PermitFilesSummary(
        files=outcome.files,
        files_by_kind=_named(outcome.counts, "kind "),
        files_by_license=_named(outcome.counts, "license "),
    )


def permit_batch(batch: pa.RecordBatch, config: PermitFilesConfig, opt_outs: OptOuts) -> Mapped:
    """The rows that licence and owner permit, and the others with the reason."""
    reasons: dict[int, tuple[str, str, str]] = {}
    rows = zip(batch.column("license").to_pylist(), batch.column("repository").to_pylist(), strict=True)
    for row, (license_, repository) in enumerate(rows):
        if opt_outs.repository(repository):
            reasons[row] = ("opted_out_repository", repository, "not on the list of opt-outs")
        elif license_ is None and config.unlicensed == "drop":
            reasons[row] = ("no_license", "none", "a known licence")
        elif license_ is not None and not _permits(config, license_):
            reasons[row] = ("license", license_, " or ".join(config.permitted_categories))
    is_kept = np.ones(batch.num_rows, np.bool_)
    is_kept[list(reasons)] = False
    kept = batch.filter(pa.array(is_kept))
    rules, values, thresholds = zip(*reasons.values(), strict=True) if reasons else ((), (), ())
    dropped = dropped_rows(batch, list(reasons), rules=rules, values=values, thresholds=thresholds)
    counts: dict[str, int] = {}
    for column, name in (("kind", "kind"), ("license", "license")):
        for value in kept.column(column).to_pylist():
            key = f"{name} {value or 'unknown'}"
            counts[key] = counts.get(key, 0) + 1
    return Mapped(kept, dropped, counts)


@cache
def _permits(config: PermitFilesConfig, license_: str) -> bool:
    policy = LicensePolicy(frozenset(config.permitted_categories), frozenset(config.also_permitted))
    return policy.permits(license_)


def _named(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}


def _require_known_categories(config: PermitFilesConfig) -> None:
    known = sorted(set(license_categories().values()))
    for category in config.permitted_categories:
        if category not in known:
            raise ParamsError(
                f"permit_files.permitted_categories names {category!r}, which no licence has; write one of "
                f"{', '.join(known)}"
            )
