"""`starloom run`: what cannot run is refused first, then the services start and the flow runs under a live view."""

import json
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from components.catalog import STEPS
from components.config import PipelineConfig
from components.settings import Settings
from flows import summary
from flows.ask_lineage import published, upstream_tree
from flows.console import RunView
from flows.forms import TrainCodeModelRequest
from flows.plan_run import refuse_what_cannot_run
from flows.startup import start_everything
from k8s.profile import Profile

if TYPE_CHECKING:
    from flows.train_code_model import TrainedModel


def run_whole(
    request: TrainCodeModelRequest, config: PipelineConfig, profile: Profile, settings: Settings, out: Console
) -> None:
    """Sources to champion, and the whole story of it at the end."""
    # The view tells it, and the server keeps it; Prefect reads it at import.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    refuse_what_cannot_run(config, settings.workspace, profile)
    if profile.cluster is not None:
        from flows.cluster_run import refuse_unready_cluster  # noqa: PLC0415 - the client costs a second

        refuse_unready_cluster(config, settings, profile)
    with out.status("starting the services"):
        start_everything(settings, lambda text: None)
    from flows.run_context import listening  # noqa: PLC0415
    from flows.train_code_model import train_code_model  # noqa: PLC0415

    view = RunView(STEPS, out)
    try:
        with view.shown(), listening(view.hear):
            outcome = train_code_model(request)
    except KeyboardInterrupt:
        if profile.cluster is not None:
            print(_goes_on(config, profile, settings), file=sys.stderr)
        raise
    _tell(outcome, settings, out)


def _goes_on(config: PipelineConfig, profile: Profile, settings: Settings) -> str:
    from flows.cluster_plan import training_name  # noqa: PLC0415

    namespace = profile.cluster.namespace if profile.cluster else ""
    return (
        f"a training that was submitted goes on in {namespace} as {training_name(config, settings)}: run again to "
        "follow it, or delete it there to end it"
    )


def _tell(outcome: "TrainedModel", settings: Settings, out: Console) -> None:
    """The whole story of a run, newest facts last."""
    records = {step.output: published(step.output, settings) for step in STEPS}
    report = json.loads((settings.artifacts_dir / "eval_report" / "report.json").read_text(encoding="utf-8"))
    version = outcome.registered
    out.print(
        summary.together(
            summary.funnel_table(records),
            summary.contracts_table(records, settings.reports_dir / "data_docs", settings.workspace),
            summary.evaluation_table(report),
            *([summary.decision_table(outcome.decision)] if outcome.decision else []),
            upstream_tree(records["eval_report"], f"{version.name} version {version.version}", settings),
            summary.pointers_table(settings, outcome),
        )
    )
