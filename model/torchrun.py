"""python -m model.torchrun OPTIONS -m MODULE ARGUMENTS: torchrun for a pod of a gang. Its options are torchrun's own.

Two things are otherwise. It ends with the exit code of the rank that failed, where torchrun always ends with 1, so that
the cluster can tell a mistake from a dead peer. And with `--pipeline-nodes N`, `--node-rank` is the index of the pod:
each N pods that follow one another hold the pipelines of the same replicas.
"""

import argparse
import sys
from collections.abc import Collection, Sequence

from torch.distributed import run
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from model.rank_places import node_of_pod
from model.train_request import MISTAKE, PREEMPTED


def main(arguments: Sequence[str]) -> int:
    """Run the ranks of this pod to their end; returns the exit code of the pod."""
    parser = argparse.ArgumentParser(description="torchrun for a pod of a gang.", add_help=False, allow_abbrev=False)
    parser.add_argument("--pipeline-nodes", type=int, default=1)
    ours, theirs = parser.parse_known_args(arguments)
    options = run.parse_args(theirs)
    options.node_rank = node_of_pod(options.node_rank, int(options.nnodes), ours.pipeline_nodes)
    try:
        run.run(options)
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        return exit_code_of([failure.exitcode for failure in error.failures.values()])
    except SignalException as asked:
        print(f"asked to end ({asked}); the ranks were asked to save and have ended", file=sys.stderr)
        return PREEMPTED
    return 0


def exit_code_of(codes: Collection[int]) -> int:
    """What a pod ends with whose ranks failed with `codes`, each as Python counts: -n when signal n ended it.

    A mistake counts most: the others then mostly died of the missing rank. A preemption counts only if all tell it.
    """
    if MISTAKE in codes:
        return MISTAKE
    code = next((code for code in codes if code != PREEMPTED), PREEMPTED)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
