"""One rank of a training run: `python -m model.train_worker REQUEST.json`, started by the launcher or by torchrun.

RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT come from the environment, and STARLOOM_HANG_SECONDS: after
how long without progress a rank ends itself (default: 600). Standard output carries events as JSON lines and nothing
else: reports from rank 0, a failure from any rank. Exit codes: 0 done, 1 failed, MISTAKE a person must mend something
first, PREEMPTED asked to stop and saved, HUNG ended by its watch.
"""

import argparse
import json
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError

from model.agreement import Exchange
from model.batches import ShortCorpusError, TrainBatches, validation_sources
from model.checkpoint import CheckpointStore
from model.checkpoint_mirror import CheckpointMirror
from model.config import require_fitting, require_same_network
from model.disks import Disk, find_disk
from model.durable_files import write_durably
from model.engine import Engine
from model.event_stream import EventWriter, Failure
from model.hang_watch import HangWatch
from model.huggingface_format import BundleError, BundleWeights
from model.metrics_log import MetricsLog
from model.parent_watch import die_with_parent
from model.remote_checkpoints import RemoteCheckpoints
from model.reporting import SilentSink, current_sink, reporting_to
from model.source_blend import BlendError
from model.text_codec import ByteLevelCodec, TextCodecError
from model.token_shards import TokenShardError, TokenShards
from model.train_request import ARTIFACT_FILES, CHECKPOINTS_DIR, METRICS_FILE, MISTAKE, PREEMPTED, TrainRequest
from model.training_errors import (
    CheckpointError,
    LayoutError,
    RequestError,
    TrainingFailedError,
    TrainingPreemptedError,
)
from model.training_lock import only_trainer
from model.training_loop import TrainingRun
from model.training_state import FirstState
from model.transformer import parameter_shapes
from model.utilization import utilization_of

_OF_THE_DATA = (TokenShardError, ShortCorpusError, BlendError, TextCodecError, BundleError)
_MISTAKES = (LayoutError, CheckpointError, RequestError, *_OF_THE_DATA)
"""What ends the same when it is tried again; what the machines did wrong is not among it."""


def main() -> int:
    """Train as the request says; returns the exit code."""
    arguments = _arguments()
    if arguments.parent is not None:
        die_with_parent(arguments.parent, sys.stdin.fileno())
    events = EventWriter(_take_standard_output())
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    rank = int(os.environ["RANK"])
    try:
        request = _read_request(arguments.request)
        with reporting_to(events if rank == 0 else SilentSink()), ExitStack() as held:
            if rank == 0 and arguments.parent is None:  # else the launcher holds it
                held.enter_context(only_trainer(request.work_dir))
            watch = HangWatch(rank, _hang_seconds(), lambda text: events.write(_failure(TrainingFailedError(text))))
            _train(request, stop, held.enter_context(watch))
    except (TrainingFailedError, *_OF_THE_DATA) as error:
        events.write(_failure(error))
        return _exit_code(error)
    return 0


def _exit_code(error: Exception) -> int:
    if isinstance(error, TrainingPreemptedError):
        return PREEMPTED
    return MISTAKE if isinstance(error, _MISTAKES) else 1


def _read_request(path: Path) -> TrainRequest:
    try:
        return TrainRequest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RequestError(f"there is no request {path}; give the file that the launcher wrote") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise RequestError(f"{path} is no request of a training: {where}: {fault['msg'].lower()}; mend it") from None


def _train(request: TrainRequest, stop: threading.Event, watch: HangWatch) -> None:
    config, context_length = request.pretrain, request.model.context_length_tokens
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size != config.layout.world_size:
        raise LayoutError(
            f"{world_size} processes were started for a layout of {config.layout.world_size}; start as many"
        )
    _make_deterministic(config.threads_per_process)
    shards = TokenShards(request.token_shards)
    require_fitting(request.model, shards.vocab_size, config.layout)
    batches = TrainBatches(shards, ByteLevelCodec.read(request.tokenizer), config, context_length)
    engine = Engine(request.model, shards.vocab_size, config, int(os.environ["LOCAL_RANK"]))
    disk = find_disk(request.work_dir / CHECKPOINTS_DIR, rank, world_size, engine.exchange)
    checkpoints = CheckpointStore(
        request.work_dir / CHECKPOINTS_DIR,
        request.identity(),
        config.layout,
        disk,
        engine.exchange,
        _mirror(request, disk, engine.exchange, lambda: watch.beat("the wait for the checkpoint store")),
    )
    metrics = MetricsLog(request.work_dir / METRICS_FILE if rank == 0 else None)
    TrainingRun(
        config=config,
        context_length=context_length,
        engine=engine,
        batches=batches,
        validation=validation_sources(shards, config, context_length, engine.data_rank),
        checkpoints=checkpoints,
        metrics=metrics,
        watch=watch,
        utilization=utilization_of(request.model, shards.vocab_size, config, engine.device),
        stop_requested=stop.is_set,
        start=_start_of(request, shards.vocab_size),
    ).to_the_end()
    watch.beat("the end of the training")
    trained = checkpoints.load_latest(current_sink().note, to_export=True)
    if trained is None or trained.step != config.num_steps:
        raise TrainingFailedError(
            f"the checkpoint of the last step, {config.num_steps}, is not there whole; start again"
        )
    if rank == 0:
        weights = {name: trained.state.whole(name, "weights") for name in trained.state.shapes}
        _write_artifact(request, shards.vocab_size, safetensors.torch.save(weights, {"format": "pt"}), metrics)
    checkpoints.close()
    engine.close()


def _mirror(request: TrainRequest, disk: Disk, exchange: Exchange, beat: Callable[[], None]) -> CheckpointMirror | None:
    if request.checkpoint_store is None:
        return None
    return CheckpointMirror(
        remote=RemoteCheckpoints(request.checkpoint_store, request.identity()),
        directory=request.work_dir / CHECKPOINTS_DIR,
        disk=disk,
        exchange=exchange,
        beat=beat,
    )


def _start_of(request: TrainRequest, vocab_size: int) -> FirstState | None:
    if request.start_from is None:
        return None
    weights = BundleWeights(request.start_from.bundle)
    require_same_network(request.model, vocab_size, weights.config, weights.vocab_size)
    return FirstState(weights, parameter_shapes(request.model, vocab_size))


def _write_artifact(request: TrainRequest, vocab_size: int, weights: bytes, metrics: MetricsLog) -> None:
    """The three files of the checkpoint artifact."""
    described = {"model": request.model.model_dump(mode="json"), "vocab_size": vocab_size}
    contents = (weights, json.dumps(described, indent=2, sort_keys=True).encode() + b"\n", metrics.content())
    for name, content in zip(ARTIFACT_FILES, contents, strict=True):
        write_durably(request.out / name, content)


def _hang_seconds() -> float:
    said = os.environ.get("STARLOOM_HANG_SECONDS", "600")
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise RequestError(f"STARLOOM_HANG_SECONDS={said!r} cannot be used: give seconds above 0")
    return seconds


def _failure(error: Exception) -> Failure:
    return Failure(kind=type(error).__name__, text=str(error))


def _make_deterministic(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Otherwise every new tensor is filled with NaN first, which guards against a bug that tests would show anyway.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def _take_standard_output() -> int:
    """A private descriptor for events; what anyone prints goes to standard error from now on."""
    sys.stdout.flush()
    events = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One rank of a training run.")
    parser.add_argument("request", type=Path, help="TrainRequest as a JSON file")
    parser.add_argument(
        "--parent", type=int, help="end when this process ends; standard input is a pipe that it holds open"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        exit_code = main()
    except BaseException:  # noqa: BLE001 - printed as Python would, then the exit below
        traceback.print_exc()
        exit_code = 1
    sys.stderr.flush()
    # Not sys.exit: with threads of gloo still alive, the teardown of torch sometimes aborts a run that is done.
    os._exit(exit_code)
