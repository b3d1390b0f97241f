"""The whole run: source code in, a registered and, if it earned it, promoted model out."""

from dataclasses import dataclass

from prefect import flow

from components.lineage import StepRecord
from components.registry.model_registry import RegisteredVersion
from components.registry.promote_model import promote_model
from components.registry.promotion import PromotionDecision
from components.registry.register_model import register_model
from components.versioning import DataVersion, record_data_version
from flows.cluster_run import refuse_unready_cluster
from flows.forms import TrainCodeModelRequest
from flows.materialize import act, materialize
from flows.plan_run import refuse_what_cannot_run
from flows.run_context import open_run

_AS_THE_FILE_SAYS = TrainCodeModelRequest()


@dataclass(frozen=True)
class TrainedModel:
    """What came of a whole run."""

    records: dict[str, StepRecord]
    """By artifact, in the order of the catalog."""
    data_version: DataVersion
    registered: RegisteredVersion
    decision: PromotionDecision | None
    """None when the request did not ask for it."""


@flow
def train_code_model(request: TrainCodeModelRequest = _AS_THE_FILE_SAYS) -> TrainedModel:
    """Make the corpus, version it, train, evaluate, register, and promote the model if it is no worse.

    Steps whose recipe and bytes are unchanged are reused. One run at a time holds the workspace.
    """
    with open_run("train_code_model", request.params_file, request.overrides(), request.profile) as run:
        refuse_what_cannot_run(run.config, run.settings.workspace, run.profile)
        refuse_unready_cluster(run.config, run.settings, run.profile)
        corpus = materialize("dataset_card", run)
        data_version = act("record_data_version", record_data_version, run.config, run.settings)
        records = materialize("eval_report", run, made=corpus)
        registered = act("register_model", register_model, run.config, run.settings)
        decision = None
        if request.promote_if_better:
            decision = act("promote_model", promote_model, run.config, run.settings, registered.version)
        return TrainedModel(records, data_version, registered, decision)
