"""What a training pays for being orchestrated: the step `pretrain` in a Prefect flow, with its live MLflow run, its
reports and its checkpoints, against the bare engine on the same batches, in turns.

    python -m benchmarks.orchestration      after `make run`, whose token shards and parameters it takes; minutes

Wall time of a step, for what is paid for is waiting; medians over the turns. The machine must have nothing else to do.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparison import Finding
from components.config import PipelineConfig, load_config
from components.settings import Settings
from flows.services import prefect_environment, stop_services
from flows.startup import start_everything

ROOT = Path(__file__).parents[1]
TURNS = 5
STEPS, WARM_STEPS = 230, 20
"""Between the two one checkpoint is begun, at the default interval of 200 steps, and committed."""
TAKEN = ("token_shards", "tokenizer")
ONE_RANK = "{data: 1, tensor: 1, pipeline: 1, sequence_parallel: false, zero_stage: 1}"
"""The other core is left to the flow and the servers, as on a node whose ranks are on its GPUs."""


@dataclass
class Heard:
    """What a flow tells while it trains, with the time."""

    steps: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    """When each step was told, and how long the engine took for it."""
    stalls: list[float] = field(default_factory=list[float])
    """How long the training stood still for each checkpoint."""

    def hear(self, _step: str, event: dict[str, Any]) -> None:
        """Take one event."""
        if event["event"] != "metrics":
            return
        values = event["values"]
        if "seconds_per_step" in values:
            self.steps[event["step"]] = time.perf_counter(), values["seconds_per_step"]
        if "checkpoint_seconds" in values and event["step"] < STEPS:  # the last one is waited for
            self.stalls.append(values["checkpoint_seconds"])

    @property
    def seconds_per_step(self) -> float:
        """From one step to the next, checkpoint and all."""
        return (self.steps[STEPS - 1][0] - self.steps[WARM_STEPS][0]) / (STEPS - 1 - WARM_STEPS)

    @property
    def seconds_in_engine(self) -> float:
        """Of them."""
        return statistics.fmean(self.steps[step][1] for step in range(WARM_STEPS + 1, STEPS))


def compare() -> list[Finding]:
    """The step and the checkpoint; a sentence and the end without the data of a run."""
    missing = [name for name in TAKEN if not (ROOT / "artifacts" / name).is_dir()]
    if missing:
        sys.exit(f"error: artifacts/{missing[0]} is not there; `make run` makes it")
    with tempfile.TemporaryDirectory() as place:
        settings = _workspace(Path(place))
        try:
            start_everything(settings, lambda text: None)
            # Before Prefect is imported, which reads it once.
            os.environ |= settings.environment() | prefect_environment(settings)
            config = load_config(settings.workspace / "params.yaml")
            return _findings(config, *_turns(config, settings))
        finally:
            stop_services(settings, lambda text: None)


def _workspace(place: Path) -> Settings:
    for name in ("params.yaml", "dvc.yaml", "prefect.yaml", "opt_outs.yaml"):
        shutil.copy(ROOT / name, place)
    for name in TAKEN:
        shutil.copytree(ROOT / "artifacts" / name, place / "artifacts" / name)
    ports = [_free_port() for _ in range(2)]
    settings = Settings(workspace=place, prefect_port=ports[0], mlflow_port=ports[1])
    return settings.model_copy(update={"tracking_uri": settings.mlflow_url})


def _turns(config: PipelineConfig, settings: Settings) -> tuple[list[Heard], list[float]]:
    orchestrated: list[Heard] = []
    bare: list[float] = []
    for turn in range(TURNS):
        orchestrated.append(_in_a_flow(turn))
        bare.append(_alone(config, settings, turn))
        print(f"turn {turn}: {_told(orchestrated[-1].seconds_per_step)}, bare {_told(bare[-1])}", file=sys.stderr)
    return orchestrated, bare


def _in_a_flow(seed: int) -> Heard:
    from prefect import flow  # noqa: PLC0415 - see compare

    from components.catalog import step_named  # noqa: PLC0415
    from flows.materialize import materialize_last  # noqa: PLC0415
    from flows.run_context import listening, open_run  # noqa: PLC0415

    overrides = {
        "layout": ONE_RANK,
        "num_steps": STEPS,
        "seed": seed,
        "validate_every_steps": STEPS,
    }

    @flow
    def pretrain_alone() -> None:
        given = tuple(f"pretrain.{key}={value}" for key, value in overrides.items())
        with open_run("pretrain_alone", "params.yaml", given) as run:
            materialize_last(step_named("pretrain"), run)

    heard = Heard()
    with listening(heard.hear):
        pretrain_alone()
    return heard


def _alone(config: PipelineConfig, settings: Settings, seed: int) -> float:
    """Mean seconds of the engine's steps in a process that does nothing else."""
    environment = os.environ | {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": str(config.pretrain.threads_per_process),
        "DS_ACCELERATOR": "cpu",
    }
    command = [sys.executable, "-m", "benchmarks.orchestration", str(settings.workspace), str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def train_alone(workspace: Path, seed: int) -> float:
    """In the process of `_alone`: batches and steps, and nothing else."""
    import torch  # noqa: PLC0415 - the flow's process needs none

    from model.batches import TrainBatches  # noqa: PLC0415
    from model.engine import Engine  # noqa: PLC0415
    from model.schedule import learning_rate  # noqa: PLC0415
    from model.text_codec import ByteLevelCodec  # noqa: PLC0415
    from model.token_shards import TokenShards  # noqa: PLC0415

    overrides = (f"pretrain.layout={ONE_RANK}", f"pretrain.num_steps={STEPS}", f"pretrain.seed={seed}")
    config = load_config(workspace / "params.yaml", overrides)
    torch.set_num_threads(config.pretrain.threads_per_process)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    shards = TokenShards(workspace / "artifacts" / "token_shards")
    codec = ByteLevelCodec.read(workspace / "artifacts" / "tokenizer")
    batches = TrainBatches(shards, codec, config.pretrain, config.model.context_length_tokens)
    engine = Engine(config.model, shards.vocab_size, config.pretrain, local_rank=0)
    seconds: list[float] = []
    for step in range(1, STEPS):
        started = time.perf_counter()
        engine.train_step(batches.batch(step - 1, 0), learning_rate(config.pretrain, step))
        seconds.append(time.perf_counter() - started)
    engine.close()
    return statistics.fmean(seconds[WARM_STEPS:])


def _findings(config: PipelineConfig, orchestrated: list[Heard], bare: list[float]) -> list[Finding]:
    step = statistics.median(heard.seconds_per_step for heard in orchestrated)
    outside = statistics.median(1 - heard.seconds_in_engine / heard.seconds_per_step for heard in orchestrated)
    alone = statistics.median(bare)
    stall = statistics.median(seconds for heard in orchestrated for seconds in heard.stalls)
    interval = config.pretrain.checkpoint_every_steps
    return [
        Finding("a training step in a flow", _told(step), _told(alone), f"the bare engine: {step / alone - 1:+.1%}"),
        Finding("of it outside the engine's step", f"{outside:.2%}", "", ""),
        Finding(
            "of that, standing still when a checkpoint begins",
            _told(stall),
            "",
            f"{stall / (interval * step):.2%} of the {interval} steps between two",
        ),
    ]


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(train_alone(Path(sys.argv[1]), int(sys.argv[2]))))
    else:
        for row in compare():
            print(f"| {' | '.join(row.cells)} |")
