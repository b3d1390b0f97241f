"""What a forked rank does when its run keeps checkpoints in a store, undisturbed or not."""

import os
import signal
import threading
import time
from pathlib import Path

from model import train_worker
from model.hang_watch import HangWatch
from model.remote_checkpoints import RemoteCheckpoints
from model.reporting import ListSink, reporting_to
from model.train_request import TrainRequest
from model.training_errors import TrainingPreemptedError


class _Acting(ListSink):
    """Acts once the loss of a step is told."""

    def __init__(self, step, act):
        super().__init__()
        self._step, self._act = step, act

    def metrics(self, values, step):
        super().metrics(values, step)
        if "loss" in values and step == self._step:
            self._act()


def train(spec):
    """The notes of a run, with boto3's `environment`.

    With `preempt_at` every rank is asked to stop in that step. With `wait_at`, rank 0 waits in that step until the file
    `waits` that it makes is gone. With `dies_before_commit` rank 0 kills itself when it has all to commit in the store.
    With `ranks_per_disk` so many neighbours have a disk of their own.
    """
    os.environ |= spec["environment"]
    request = TrainRequest.model_validate_json(Path(spec["request"]).read_bytes())
    rank, stop, waits = int(os.environ["RANK"]), threading.Event(), Path(spec["request"]).with_name("waits")
    if "ranks_per_disk" in spec:
        disk = request.work_dir / f"disk-{rank // spec['ranks_per_disk']}"
        request = request.model_copy(update={"work_dir": disk})

    def wait():
        waits.touch()
        while waits.exists():
            time.sleep(0.01)

    sink = ListSink()
    if "preempt_at" in spec:
        sink = _Acting(spec["preempt_at"], stop.set)
    if "wait_at" in spec and rank == 0:
        sink = _Acting(spec["wait_at"], wait)
    if spec.get("dies_before_commit"):
        RemoteCheckpoints.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    with reporting_to(sink), HangWatch(rank, 100.0, print) as watch:
        try:
            train_worker._train(request, stop, watch)
        except TrainingPreemptedError as error:
            sink.note(str(error))
    return sink.notes
