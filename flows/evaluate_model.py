"""Measures the bundle that stands in the workspace, and trains nothing."""

from prefect import flow

from components.catalog import step_named
from components.lineage import StepRecord
from flows.forms import EvaluateModelRequest
from flows.materialize import materialize_last
from flows.run_context import open_run

_AS_THE_FILE_SAYS = EvaluateModelRequest()


@flow
def evaluate_model(request: EvaluateModelRequest = _AS_THE_FILE_SAYS) -> StepRecord:
    """Evaluate the bundle in the workspace on the held-out files and the problems; reuse a report that is there."""
    with open_run("evaluate_model", request.params_file, profile=request.profile) as run:
        return materialize_last(step_named("evaluate_model"), run)
