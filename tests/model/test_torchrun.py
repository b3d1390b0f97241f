"""torchrun as a pod runs it. About 20 seconds on two cores: torch is imported in every process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.torchrun import exit_code_of
from model.train_request import MISTAKE, PREEMPTED
from tests.free_port import free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([1], 1),
        ([MISTAKE], MISTAKE),
        ([1, MISTAKE, PREEMPTED], MISTAKE),
        ([PREEMPTED, PREEMPTED], PREEMPTED),
        ([PREEMPTED, 71], 71),
        ([-9], 137),
        ([-15, MISTAKE], MISTAKE),
    ],
)
def test_a_mistake_counts_most_and_a_preemption_only_alone(codes: list[int], code: int):
    assert exit_code_of(codes) == code


def _agent(program: Path, *options: str, processes: int = 1) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "model.torchrun", f"--nproc-per-node={processes}", *options, str(program)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _alone() -> tuple[str, ...]:
    return ("--nnodes=1", "--node-rank=0", "--master-addr=127.0.0.1", f"--master-port={free_port()}")


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, MISTAKE, 71])
def test_the_pod_ends_as_its_rank_does(tmp_path: Path, code: int):
    program = tmp_path / "rank.py"
    program.write_text(f"import os, sys\nsys.exit({code} if os.environ['RANK'] == '1' else 0)\n")
    with _agent(program, *_alone(), processes=2) as agent:
        agent.communicate()
    assert agent.returncode == code


@pytest.mark.slow
def test_a_pod_that_is_asked_to_end_lets_its_rank_save(tmp_path: Path):
    program, ready, saved = tmp_path / "rank.py", tmp_path / "ready", tmp_path / "saved"
    program.write_text(
        "import pathlib, signal, sys, time\n"
        f"saved = pathlib.Path({str(saved)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), saved.touch(), sys.exit(75)))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    with _agent(program, *_alone(), "--shutdown-timeout=20") as agent:
        while not ready.exists() and agent.poll() is None:
            time.sleep(0.05)
        agent.send_signal(signal.SIGTERM)
        agent.communicate()
    assert agent.returncode == PREEMPTED
    assert saved.exists()


@pytest.mark.slow
def test_pods_that_follow_one_another_hold_the_stages_of_a_replica(tmp_path: Path):
    program = tmp_path / "rank.py"
    program.write_text("import os\nprint(os.environ['RANK'], os.environ['WORLD_SIZE'])\n")
    meeting = ("--nnodes=4", "--master-addr=127.0.0.1", f"--master-port={free_port()}", "--pipeline-nodes=2")
    agents = [_agent(program, *meeting, f"--node-rank={pod}") for pod in range(4)]
    told = [agent.communicate()[0].decode().split() for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * 4
    assert told == [["0", "4"], ["2", "4"], ["1", "4"], ["3", "4"]]
