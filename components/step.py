"""The shape of a row in the catalog: a step turns artifacts into one artifact."""

from dataclasses import dataclass
from enum import Enum


class Needs(Enum):
    """What hardware a step asks for; a launcher maps it to resources."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Step:
    """One row: `module.run(config, **inputs, out=...)` makes `output`.

    `name` is also the step's section in params.yaml and its stage in dvc.yaml. `sections` names further sections that
    its result depends on. `reads_sources` marks a step that reads from outside the artifacts: its module also has
    `resolve_sources(config, workspace) -> dict[str, str]`, the digest of each source's bytes, which enters the
    fingerprint. A `resumable` step finds its working directory again after it was killed. A `tracked` step has a run
    in MLflow. One that `has_ranks` is told by whom they are started, and the store that their checkpoints may go to.
    One that works `in_pieces` gives them to the current runner, so that more than one machine may do them.
    """

    name: str
    module: str
    output: str
    inputs: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    needs: Needs = Needs.CPU
    reads_sources: bool = False
    resumable: bool = False
    tracked: bool = False
    has_ranks: bool = False
    in_pieces: bool = False
