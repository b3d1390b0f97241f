"""Makes a registered version the champion, if the gate lets it pass."""

from prefect import flow

from components.registry.promote_model import promote_model as decide_and_promote
from components.registry.promotion import PromotionDecision
from flows.forms import PromoteModelRequest
from flows.materialize import act
from flows.run_context import open_run

_THE_NEWEST = PromoteModelRequest()


@flow
def promote_model(request: PromoteModelRequest = _THE_NEWEST) -> PromotionDecision:
    """Move the champion alias to a registered version whose evaluation is no worse and whose contracts all hold."""
    with open_run("promote_model", request.params_file) as run:
        return act("promote_model", decide_and_promote, run.config, run.settings, request.version)
