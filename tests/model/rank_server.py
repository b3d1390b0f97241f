"""Real ranks at the price of a fork: one process imports everything once, and every rank is a copy of it.

`RankServer` is the side of the tests. The other side is this file run as a program: a job comes as a JSON line, its
ranks are forked and meet on a free port, and what each of them returned goes back as a JSON line.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SECONDS = 180
"""A job that takes longer hangs."""


class RankFailedError(Exception):
    """A rank raised; the text is its traceback."""


class RankServer:
    """Runs functions of a spec, such as those of `layout_rank.py`, in ranks that are processes of their own."""

    def __init__(self):
        self._process = None

    def run(self, function, world_size, **spec):
        """What `function(spec)` returned on each rank; `function` is `module:name`.

        RankFailedError if a rank raised. If one was killed before any raised, all count as None.
        """
        if self._process is None:
            # One thread: a process with threads of torch must not be forked.
            environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.model.rank_server"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        json.dump({"function": function, "world_size": world_size, "spec": spec}, self._process.stdin)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer["error"]:
            raise RankFailedError(answer["error"])
        return answer["results"]

    def close(self):
        if self._process is not None:
            self._process.communicate(timeout=30)


def _serve():
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for module in ("model.train_worker", "deepspeed.runtime.zero.muon.original_muon"):
        importlib.import_module(module)
    gc.freeze()  # what is there now is never freed: ranks need not look through it, nor copy its pages
    for line in sys.stdin:
        job = json.loads(line)
        function = getattr(importlib.import_module(job["function"].partition(":")[0]), job["function"].split(":")[1])
        with socket.socket() as reservation, tempfile.TemporaryDirectory() as folder:
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation.bind(("127.0.0.1", 0))
            port = reservation.getsockname()[1]
            ranks = [
                _fork(function, job["spec"], rank, job["world_size"], port, Path(folder))
                for rank in range(job["world_size"])
            ]
            events.write(json.dumps(_gather(ranks, Path(folder))) + "\n")
            events.flush()


def _fork(function, spec, rank, world_size, port, folder):
    """The process of a rank, and the pipe that ends when it does."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    try:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        outcome, code = {"result": function(spec)}, 0
    except BaseException:  # noqa: BLE001 - told to the test, then the process ends
        outcome, code = {"error": f"rank {rank} of {world_size}, {spec}\n{traceback.format_exc()}"}, 1
    (folder / f"{rank}.unfinished").write_text(json.dumps(outcome), encoding="utf-8")
    (folder / f"{rank}.unfinished").rename(folder / str(rank))
    os._exit(code)


def _gather(ranks, folder):
    """What the ranks left behind; where one dies or fails, the others are killed, as they would wait for it."""
    deadline = time.monotonic() + _SECONDS
    numbers = {process: number for number, (process, _) in enumerate(ranks)}
    first_to_fail = None
    with selectors.DefaultSelector() as selector:
        for process, pipe in ranks:
            selector.register(pipe, selectors.EVENT_READ, process)
        while selector.get_map():
            ended = selector.select(max(0.0, deadline - time.monotonic()))
            if not ended:
                _kill(key.data for key in selector.get_map().values())
                return {"results": None, "error": f"the job did not end in {_SECONDS} seconds"}
            for key, _ in ended:
                selector.unregister(key.fd)
                os.close(key.fd)
                if os.waitpid(key.data, 0)[1] and first_to_fail is None:
                    first_to_fail = folder / str(numbers[key.data])
                    _kill(other.data for other in selector.get_map().values())
    if first_to_fail is None:
        outcomes = [json.loads((folder / str(number)).read_text(encoding="utf-8")) for number in range(len(ranks))]
        return {"results": [outcome["result"] for outcome in outcomes], "error": None}
    failure = json.loads(first_to_fail.read_text(encoding="utf-8"))["error"] if first_to_fail.exists() else None
    return {"results": [None] * len(ranks), "error": failure}


def _kill(processes):
    for process in processes:
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
