"""A training as the pods of a cluster read it, and how it is dealt out to fewer of them.

Pods see the workspace under a path of their own and work in it, so their request names every place from there. A
smaller deal has fewer replicas that accumulate more: the same global batch, another rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.errors import ParamsError, TrainingError
from components.planning.hardware import Hardware
from components.planning.layout_plan import plan_layout
from components.planning.placement import Placement, place_layout
from model.durable_files import write_durably
from model.token_shards import TokenShards
from model.train_request import ARTIFACT_FILES, TrainRequest
from model.training_errors import TrainingFailedError

_PLACES = ("token_shards", "tokenizer", "work_dir", "out")


@dataclass(frozen=True)
class Deal:
    """A training, and where its ranks are."""

    request: TrainRequest
    placement: Placement

    @property
    def told(self) -> str:
        """What differs between the deals of one training."""
        pretrain = self.request.pretrain
        return (
            f"{len(self.placement.pods)} nodes, data {pretrain.layout.data}, accumulation {pretrain.accumulation_steps}"
        )


def read_training(request_file: Path) -> TrainRequest:
    """What `model.launcher` has written."""
    return TrainRequest.model_validate_json(request_file.read_bytes())


def for_pods(request: TrainRequest, workspace: Path) -> TrainRequest:
    """The same, its places named from the workspace; ParamsError if one lies outside, where no pod can see it."""
    places = {name: _inside(getattr(request, name), workspace, name) for name in _PLACES}
    start = request.start_from
    if start:
        bundle = _inside(start.bundle, workspace, "pretrain.start_from")
        start = start.model_copy(update={"bundle": bundle})
    return request.model_copy(update={**places, "start_from": start})


def _inside(place: Path, workspace: Path, name: str) -> Path:
    try:
        return place.resolve().relative_to(workspace.resolve())
    except ValueError:
        raise ParamsError(
            f"{name}: {place} is outside the workspace {workspace}, and pods see nothing else; put it inside"
        ) from None


def write_training(request: TrainRequest, path: Path) -> None:
    """Whole, for pods to read; TrainingError if the disk does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, request.model_dump_json(indent=2).encode() + b"\n")
    except (OSError, TrainingFailedError) as error:
        raise TrainingError(f"{path} cannot be written: {error}") from None


def is_finished(request: TrainRequest) -> bool:
    """Whether its artifact is there, whole."""
    return all((request.out / name).exists() for name in ARTIFACT_FILES)


def deals(request: TrainRequest, hardware: Hardware, min_nodes: int | None) -> Iterator[Deal]:
    """As asked; then to fewer whole nodes, each to fewer than the one before, as the plan says that they fit.

    The global batch stays. Nothing else of the layout changes: tensor and pipeline are what the nodes are good at.
    None for `min_nodes` is that none are fewer.
    """
    config = request.pretrain
    whole = place_layout(config.layout, hardware.devices_per_node)
    yield Deal(request, whole)
    replicas, most_nodes = config.accumulation_steps * config.layout.data, len(whole.pods)
    vocab_size = TokenShards(request.token_shards).vocab_size
    for data in range(config.layout.data - 1, 0, -1) if min_nodes else ():
        if replicas % data:
            continue
        layout = config.layout.model_copy(update={"data": data})
        smaller = config.model_copy(update={"layout": layout, "accumulation_steps": replicas // data})
        try:
            placement = place_layout(layout, hardware.devices_per_node)
        except ParamsError:
            continue  # it fills no whole nodes
        nodes, processes = len(placement.pods), placement.processes_per_node
        is_smaller = (min_nodes or 1) <= nodes < most_nodes and processes == whole.processes_per_node
        if is_smaller and not plan_layout(request.model, vocab_size, smaller, hardware).refusals:
            most_nodes = nodes
            yield Deal(request.model_copy(update={"pretrain": smaller}), placement)
