"""Starts the ranks of a training run on this machine and stands for them: their reports, their failures, their end.

The ranks are one gang: if one fails, the others are killed, since they would only wait for it. They are in sessions
of their own, so that Ctrl-C comes here first and they can save; and they never outlive this process.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from pydantic import ValidationError

from model.config import require_fitting
from model.durable_files import write_durably, writing_to
from model.event_stream import Event, Failure, deliver, read_event
from model.reporting import current_sink
from model.token_shards import TokenShardError, TokenShards
from model.train_request import METRICS_FILE, PREEMPTED, TrainRequest, TrainResult
from model.training_errors import (
    CheckpointError,
    LayoutError,
    RequestError,
    TrainingFailedError,
    TrainingPreemptedError,
)
from model.training_lock import only_trainer

_SECONDS_TO_SAVE = 120.0
"""How long ranks that were asked to stop may take for their step and its checkpoint; then they are killed."""
_LAST_WORDS_LINES = 12
_GPU_DRIVER = Path("/dev/nvidiactl")
_SOURCE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class _Exit:
    """A rank has ended; everything that it said came before."""

    rank: int
    code: int


def train(request: TrainRequest, stand_in: Sequence[str] = ()) -> TrainResult:
    """Run the request to its last step, from its last checkpoint if `work_dir` holds one.

    With a `stand_in`, a command, the ranks run elsewhere: it gets the arguments of a rank and behaves as one that
    speaks for all of them, in reports, signals and exit code.

    Reports go to the current sink. TrainingFailedError if a rank fails, with the last lines of its standard error, if
    the token shards are damaged or if another training is at work in `work_dir`; LayoutError if the layout does not fit
    the model; CheckpointError if `work_dir` belongs to another run; RequestError if a rank cannot use what it was
    started with; TrainingPreemptedError if this process gets SIGTERM (noticed in the main thread only). Ctrl-C lets the
    ranks save, then goes on as KeyboardInterrupt.
    """
    _require_fitting(request)
    with writing_to(request.work_dir):
        request.work_dir.mkdir(parents=True, exist_ok=True)
    if stand_in:  # whoever has rank 0 holds the directory
        _run_elsewhere(request, stand_in)
    else:
        with only_trainer(request.work_dir):
            _run_ranks(request)
    return _result(request.out)


def _require_fitting(request: TrainRequest) -> None:
    try:
        shards = TokenShards(request.token_shards)
    except TokenShardError as error:
        raise TrainingFailedError(str(error)) from error
    require_fitting(request.model, shards.vocab_size, request.pretrain.layout)


def _run_ranks(request: TrainRequest) -> None:
    # -P: what lies in the current directory is data, never a module.
    command = _command((sys.executable, "-P", "-m", "model.train_worker"), request)
    with _reserved_port() as port, _Gang(request.pretrain.layout.world_size) as gang, gang.stopping_at_sigterm():
        for rank in range(gang.size):
            gang.start(rank, command, _environment(request, rank, port), _last_words(request, rank))
        gang.follow()
        gang.require_success([_last_words(request, rank) for rank in range(gang.size)])


def _run_elsewhere(request: TrainRequest, stand_in: Sequence[str]) -> None:
    last_words = _last_words(request, 0)
    with _Gang(1) as gang, gang.stopping_at_sigterm():
        gang.start(0, _command(stand_in, request), dict(os.environ), last_words)
        gang.follow()
        gang.require_success([last_words])


class _Gang:
    """The processes of the ranks; leaving the context ends those that still run."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._processes: list[subprocess.Popen[bytes]] = []
        self._inbox: queue.SimpleQueue[Event | _Exit] = queue.SimpleQueue()
        self._failures: list[Failure] = []
        self._exits: list[_Exit] = []

    def __enter__(self) -> "_Gang":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is KeyboardInterrupt:
                self.ask_to_stop()
                for process in self._processes:
                    process.wait(_SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            current_sink().note(f"training did not save and end in {_SECONDS_TO_SAVE:.0f} seconds and was killed")
        finally:
            self._kill()

    def start(self, rank: int, command: list[str], environment: dict[str, str], last_words: Path) -> None:
        """Start one rank. Its standard input is a pipe that ends when this process does."""
        with writing_to(last_words), last_words.open("wb") as errors:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(rank, process), name=f"rank-{rank}", daemon=True).start()

    def follow(self) -> None:
        """Pass reports on until every rank has ended; a rank that fails ends all."""
        running = self.size
        while running:
            message = self._inbox.get()
            match message:
                case _Exit():
                    running -= 1
                    self._exits.append(message)
                    if message.code not in (0, PREEMPTED):
                        self._kill()
                case Failure():
                    self._failures.append(message)
                case _:
                    deliver(message, current_sink())

    def require_success(self, last_words: list[Path]) -> None:
        """Raise what the gang died of, unless every rank has finished its work.

        The first failure counts: those after it are its echoes, or our own kill. Only if nothing else went wrong
        is the end a preemption.
        """
        preemptions = [failure for failure in self._failures if failure.kind == TrainingPreemptedError.__name__]
        failures = [failure for failure in self._failures if failure not in preemptions]
        if failures:
            told = "\n".join(dict.fromkeys(failure.text for failure in failures))  # mostly all tell the same
            raise _ERROR_OF_KIND.get(failures[0].kind, TrainingFailedError)(told)
        for ended in self._exits:
            if ended.code == -signal.SIGTERM:
                raise TrainingPreemptedError(
                    "training was asked to stop before it began; start it again to go on from its last checkpoint"
                )
            if ended.code not in (0, PREEMPTED):
                raise TrainingFailedError(_obituary(ended, self.size, last_words[ended.rank]))
        for failure in preemptions:
            raise TrainingPreemptedError(failure.text)

    def ask_to_stop(self) -> None:
        """Let every rank finish its step, save and end."""
        for process in self._processes:
            process.terminate()

    @contextmanager
    def stopping_at_sigterm(self) -> Generator[None]:
        """Pass SIGTERM on to the ranks; only the main thread may listen to signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.ask_to_stop()

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _listen(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        with process:
            for event in _events(process.stdout):
                self._inbox.put(event)
        self._inbox.put(_Exit(rank, process.returncode))


_ERROR_OF_KIND: dict[str, type[TrainingFailedError]] = {
    kind.__name__: kind for kind in (CheckpointError, LayoutError, RequestError)
}


def _events(lines: IO[bytes] | None) -> Iterator[Event]:
    for line in lines or ():
        try:
            yield read_event(line)
        except ValidationError:
            continue  # the half line of a rank that was killed while it wrote


def _obituary(ended: _Exit, size: int, last_words: Path) -> str:
    how = f"was killed by {signal.Signals(-ended.code).name}" if ended.code < 0 else f"ended with code {ended.code}"
    lines = last_words.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_WORDS_LINES:]
    sentence = (
        f"rank {ended.rank} of {size} {how}, so training stopped; see {last_words}, mend the cause and start again: "
        "the run goes on from its last checkpoint"
    )
    return "\n".join([sentence, *lines])


def _command(program: Sequence[str], request: TrainRequest) -> list[str]:
    request_file = request.work_dir / "request.json"
    write_durably(request_file, request.model_dump_json(indent=2).encode() + b"\n")
    return [*program, str(request_file), "--parent", str(os.getpid())]


def _environment(request: TrainRequest, rank: int, port: int) -> dict[str, str]:
    """Ours, and what a rank must know before it imports anything."""
    environment = os.environ | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(request.pretrain.layout.world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",  # all ranks are on this machine; its own name need not resolve
        "OMP_NUM_THREADS": str(request.pretrain.threads_per_process),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what torch's deterministic algorithms ask for on a GPU
        "PYTHONPATH": os.pathsep.join([str(_SOURCE_ROOT), *_inherited("PYTHONPATH")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), *_inherited("PATH")]),
    }
    if not _GPU_DRIVER.exists():
        environment["DS_ACCELERATOR"] = "cpu"  # else DeepSpeed searches for one, and says so on every rank
    environment.pop("TORCH_EXTENSIONS_DIR", None)  # nothing is compiled at run time
    return environment


def _inherited(variable: str) -> list[str]:
    return [part for part in os.environ.get(variable, "").split(os.pathsep) if part]


def _last_words(request: TrainRequest, rank: int) -> Path:
    return request.work_dir / f"rank-{rank:05d}.stderr"


@contextmanager
def _reserved_port() -> Generator[int]:
    """A port on which rank 0 can listen and nobody else will.

    Bound and not listening, both with SO_REUSEADDR: Linux then lets rank 0 bind it too, and gives it to no one who
    asks for any port.
    """
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        yield reservation.getsockname()[1]


def _result(out: Path) -> TrainResult:
    last_line = (out / METRICS_FILE).read_bytes().splitlines()[-1]
    return TrainResult.model_validate(json.loads(last_line))
