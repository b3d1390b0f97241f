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
        """What `function(spec)` returned on each rank; `function` is `module:name`. A rank that died counts as None."""
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
        ranks = json.loads(self._process.stdout.readline())
        failures = [rank["error"] for rank in ranks if rank["error"]]
        if failures:
            raise RankFailedError("\n".join(failures))
        return [rank["result"] for rank in ranks]

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
    code = 1
    try:
        os.environ |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        said = {"result": function(spec), "error": None}
        code = 0
    except BaseException:  # noqa: BLE001 - told to the test, then the process ends
        said = {"result": None, "error": f"rank {rank} of {world_size}, {spec}\n{traceback.format_exc()}"}
    (folder / str(rank)).write_text(json.dumps(said), encoding="utf-8")
    os._exit(code)


def _gather(ranks, folder):
    """What the ranks left behind; where one dies or fails, the others are killed, as they would wait for it."""
    deadline = time.monotonic() + _SECONDS
    with selectors.DefaultSelector() as selector:
        for process, pipe in ranks:
            selector.register(pipe, selectors.EVENT_READ, process)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())) or [(None, 0)]:
                if key is None:  # out of time
                    _kill(other.data for other in selector.get_map().values())
                    deadline += _SECONDS
                    continue
                selector.unregister(key.fd)
                os.close(key.fd)
                if os.waitpid(key.data, 0)[1]:
                    _kill(other.data for other in selector.get_map().values())
    files = [folder / str(rank) for rank in range(len(ranks))]
    dead = {"result": None, "error": None}
    return [json.loads(file.read_text(encoding="utf-8")) if file.exists() else dead for file in files]


def _kill(processes):
    for process in processes:
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
