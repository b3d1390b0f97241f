"""Brings an older version of the data back."""

from prefect import flow

from components.versioning import Rollback
from components.versioning import rollback_data as restore_data
from flows.forms import RollbackDataRequest
from flows.materialize import act
from flows.run_context import open_workspace


@flow
def rollback_data(request: RollbackDataRequest) -> Rollback:
    """Restore the data of a version, its bytes verified, and commit that as a new step of the history."""
    with open_workspace("rollback_data") as settings:
        return act("rollback_data", restore_data, request.version, settings, restore_params=request.restore_params)
