"""Promote: gather what is known of candidate and champion, decide (`promotion.py`), add to the ledger, move the alias.

Two models are compared on the same held-out files: a champion that was measured on others is measured anew.
"""

import shutil
from pathlib import Path
from typing import Any

from components.catalog import step_named
from components.config import PipelineConfig
from components.errors import CorruptArtifactError
from components.lineage import StepRecord, archived_record, published_record, upstream
from components.provenance import person_at
from components.registry.champion import champion_of, settle_champion
from components.registry.ledger import Ledger, open_ledger
from components.registry.model_registry import ModelRegistry, RegisteredVersion
from components.registry.promotion import Evaluation, PromotionDecision, decide
from components.run_step import call_step
from components.settings import Settings
from components.store import RECORD_FILE, storage_errors_told, verify_files
from components.workspace import exclusive


def promote_model(config: PipelineConfig, settings: Settings, version: int | None = None) -> PromotionDecision:
    """Make `version` (None: the newest) the champion if it may be; else say why not.

    Whoever else promotes the model at the same time decides before or after: no decision stands on a champion that is
    none any more.
    """
    with exclusive(settings, "promote a model"), storage_errors_told(settings.workspace):
        registry, ledger, who = _registry_and_ledger(config, settings)
        settled = settle_champion(ledger, registry, who)
        candidate = registry.version(version)
        while True:
            history = ledger.read()
            champion = champion_of(history.champion, registry, ledger) if history.champion else None
            decision = _decision(candidate, champion, registry, config, settings)
            changes = decision.promoted and decision.champion_before != candidate.version
            if not changes or ledger.append(
                history, "promoted", candidate.version, candidate.lineage, decision.checks, who
            ):
                settle_champion(ledger, registry, who)
                return decision.model_copy(update={"settled": settled})


def reconcile(config: PipelineConfig, settings: Settings) -> str | None:
    """Put the champion's alias where the ledger says; what was done, None if it stood there."""
    with exclusive(settings, "reconcile the champion"), storage_errors_told(settings.workspace):
        registry, ledger, who = _registry_and_ledger(config, settings)
        return settle_champion(ledger, registry, who)


def _registry_and_ledger(config: PipelineConfig, settings: Settings) -> tuple[ModelRegistry, Ledger, str]:
    name = config.register_model.model_name
    return ModelRegistry(name, settings), open_ledger(name, settings), person_at(settings.workspace)


def _decision(
    candidate: RegisteredVersion,
    champion: RegisteredVersion | None,
    registry: ModelRegistry,
    config: PipelineConfig,
    settings: Settings,
) -> PromotionDecision:
    record = archived_record(candidate.lineage, settings)
    other = champion if champion and champion.version != candidate.version else None
    checks = decide(
        _evaluation(record.summary),
        _champion_evaluation(other, record, registry, config, settings) if other else None,
        _broken_contracts(record, settings),
        _damaged_file(candidate, record, registry, settings),
        config.promote_model,
    )
    return PromotionDecision(
        model_name=candidate.name,
        version=candidate.version,
        champion_before=champion.version if champion else None,
        promoted=all(check.passed for check in checks),
        checks=checks,
    )


def fetch_bundle(version: RegisteredVersion, registry: ModelRegistry, settings: Settings) -> Path:
    """The registered files of a version, verified against the record they were registered with.

    CorruptArtifactError when they are others: MLflow lets registered files be overwritten in place.
    """
    bundle_record = _bundle_record(archived_record(version.lineage, settings), settings)
    place = settings.state_dir / "bundles" / bundle_record.digest[:16]
    if place.exists():
        shutil.rmtree(place)
    registry.download(version, place)
    (place / RECORD_FILE).unlink(missing_ok=True)
    try:
        verify_files(place, bundle_record.files)
    except CorruptArtifactError as error:
        fault = str(error).split(": ", 1)[1].split(";")[0]
        raise CorruptArtifactError(
            f"the registered files of {version.name} version {version.version} were altered: {fault}; "
            "promote another version, or register this one again"
        ) from None
    return place


def _bundle_record(evaluated: StepRecord, settings: Settings) -> StepRecord:
    return archived_record(evaluated.inputs["bundle"].record, settings)


def _evaluation(summary: dict[str, Any]) -> Evaluation:
    return Evaluation(bits_per_byte=summary["bits_per_byte"], baseline_bits_per_byte=summary["baseline_bits_per_byte"])


def _champion_evaluation(
    champion: RegisteredVersion,
    candidate: StepRecord,
    registry: ModelRegistry,
    config: PipelineConfig,
    settings: Settings,
) -> Evaluation:
    """The champion on the candidate's held-out files: recorded if it was measured on them, else measured now."""
    record = archived_record(champion.lineage, settings)
    measured_alike = (
        all(record.inputs[name] == candidate.inputs[name] for name in ("corpus_splits", "eval_problems"))
        and record.sections == candidate.sections
    )
    if measured_alike:
        return _evaluation(record.summary)
    out = settings.staging_dir / "champion-evaluation"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    inputs = {"bundle": fetch_bundle(champion, registry, settings)}
    for name in ("corpus_splits", "eval_problems"):
        standing = published_record(name, settings)
        if standing is None or standing.record_digest() != candidate.inputs[name].record:
            raise CorruptArtifactError(
                f"version {champion.version} was measured on other files, and the {name} that the candidate was "
                "measured on is no longer in the workspace; bring it back with `starloom rollback data VERSION`"
            )
        inputs[name] = settings.artifacts_dir / name
    summary = call_step(step_named("evaluate_model"), config, inputs, out)
    shutil.rmtree(out)
    return _evaluation(summary.model_dump(mode="json"))


def _broken_contracts(record: StepRecord, settings: Settings) -> list[str]:
    reports = [one.contract for one in upstream(record, settings) if one.contract is not None]
    return [report.sentence() for report in reports if report.blocked]


def _damaged_file(
    version: RegisteredVersion, record: StepRecord, registry: ModelRegistry, settings: Settings
) -> str | None:
    try:
        fetch_bundle(version, registry, settings)
    except CorruptArtifactError as error:
        return str(error)
    return None
