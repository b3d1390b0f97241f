"""Register: the evaluated bundle becomes a version of a model, tagged with the digest of its lineage.

Acts on the world, so it is no step of the catalog. The same lineage is registered once.
"""

import json
from pathlib import Path
from typing import Any

from components.config import PipelineConfig
from components.errors import MissingInputError
from components.lineage import StepRecord, published_record, upstream
from components.registry.model_registry import ModelRegistry, RegisteredVersion
from components.settings import Settings
from components.store import storage_errors_told, verify_files
from components.tracking import describe_run, run_of
from components.training.loss_curve import BaselineLevel, draw_loss_curve
from components.versioning import commit_artifact, record_data_version
from components.workspace import exclusive

MODEL_ARTIFACTS = ("checkpoint", "bundle", "eval_report")


def register_model(config: PipelineConfig, settings: Settings) -> RegisteredVersion:
    """Register the workspace's bundle with its evaluation; returns the version it has already, if it has one."""
    with exclusive(settings, "register the model"), storage_errors_told(settings.workspace):
        registry = ModelRegistry(config.register_model.model_name, settings)
        records = {name: _verified(name, settings) for name in MODEL_ARTIFACTS}
        reports = _write_reports(records["eval_report"], settings)
        lineage = records["eval_report"].record_digest()
        known = registry.with_lineage(lineage)
        if known is not None:
            return known
        data_version = record_data_version(config, settings)
        commit_artifact("eval_report", settings)
        artifacts = settings.artifacts_dir
        run_id = run_of(records["checkpoint"], artifacts / "checkpoint" / "metrics.jsonl", settings)
        tags = {"lineage": lineage, "data_version": data_version.version, "bundle_digest": records["bundle"].digest}
        describe_run(
            run_id,
            tags=tags,
            metrics=_evaluation_metrics(_evaluation(settings)),
            datasets={
                name: (artifact.dvc_md5, {"path": f"artifacts/{name}", "revision": f"data/{data_version.version}"})
                for name, artifact in data_version.artifacts.items()
                if name in ("token_shards", "tokenizer", "corpus_splits")
            },
            files=reports,
            settings=settings,
        )
        return registry.register(artifacts / "bundle", run_id, tags)


def loss_curve_path(settings: Settings) -> Path:
    """Where the picture of the last training lies."""
    return settings.reports_dir / "loss_curve.png"


def _verified(name: str, settings: Settings) -> StepRecord:
    record = published_record(name, settings)
    if record is None:
        raise MissingInputError(f"{name} has not been made yet; run `starloom run` first")
    verify_files(settings.artifacts_dir / name, record.files)
    return record


def _evaluation(settings: Settings) -> dict[str, Any]:
    return json.loads((settings.artifacts_dir / "eval_report" / "report.json").read_text(encoding="utf-8"))


def _evaluation_metrics(report: dict[str, Any]) -> dict[str, float]:
    return {
        "eval.bits_per_byte": report["bits_per_byte"],
        "eval.baseline_bits_per_byte": report["baseline"]["bits_per_byte"],
        "eval.solution_bits_per_byte": report["problems"]["solution_bits_per_byte"],
        "eval.fill_in_middle_exact_match": report["fill_in_middle"]["exact_match_fraction"],
        **{f"eval.bits_per_byte.{row['language']}": row["bits_per_byte"] for row in report["per_language"]},
    }


def _write_reports(evaluated: StepRecord, settings: Settings) -> dict[str, Path]:
    """The loss curve, the contract reports and the evaluation, by folder of the run."""
    curve = loss_curve_path(settings)
    curve.parent.mkdir(parents=True, exist_ok=True)
    draw_loss_curve(settings.artifacts_dir / "checkpoint" / "metrics.jsonl", curve, _baseline(_evaluation(settings)))
    contracts = settings.reports_dir / "contracts"
    contracts.mkdir(parents=True, exist_ok=True)
    for record in upstream(evaluated, settings):
        if record.contract is not None:
            (contracts / f"{record.artifact}.md").write_text(record.contract.to_markdown(), encoding="utf-8")
    return {
        "training": curve,
        "contracts": contracts,
        "evaluation": settings.artifacts_dir / "eval_report" / "report.json",
    }


def _baseline(report: dict[str, Any]) -> BaselineLevel:
    held_out = report["held_out"]
    bytes_per_token = held_out["bytes"] / held_out["tokens"]
    return BaselineLevel(report["baseline"]["name"], report["baseline"]["bits_per_byte"], bytes_per_token)
