"""Two real ranks. About six seconds for each precision on two cores."""

import os
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_RANK = """
import copy
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from model.config import FillInMiddleConfig, PretrainConfig
from model.engine import Engine


class Tiny(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(31, 7)
        self.middle = nn.Linear(7, 7)
        self.norm = nn.LayerNorm(7)

    def loss(self, tokens_BT, targets_BT):
        x = self.norm(self.middle(self.embedding(tokens_BT)))
        return F.cross_entropy((x @ self.embedding.weight.T).float().flatten(0, 1), targets_BT.flatten())


config = PretrainConfig(
    recipe=1, num_processes=2, threads_per_process=1, precision=sys.argv[1], micro_batch_size=2, accumulation_steps=3,
    num_steps=6, learning_rate=0.05, min_learning_rate=0.05, warmup_steps=0, weight_decay=0.1, adam_beta1=0.9,
    adam_beta2=0.95, adam_epsilon=1e-8, gradient_clip_norm=0.5,
    fill_in_middle=FillInMiddleConfig(rate=0, spm_rate=0), blend={}, validate_every_steps=1, validation_batches=1,
    checkpoint_every_steps=1, seed=1,
)
torch.set_num_threads(1)
rank = int(os.environ["RANK"])


def batches(step, count):
    random = np.random.default_rng([step, rank])
    tokens = random.integers(0, 31, (count, 2, 5))
    return [(ids, (ids * 3 + 1) % 31) for ids in tokens]


def bits(tensors):
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


engine = Engine(Tiny(seed=rank), config, local_rank=rank)
assert (engine.rank, engine.world_size) == (rank, 2)

# Rank 0's weights were given to all.
first = engine.full_weights()
digests = engine.exchange(b"".join(bits(first).values()))
assert digests[0] == digests[1]
wanted = {name: p.detach().to(getattr(torch, {"fp32": "float32", "bf16": "bfloat16"}[sys.argv[1]])).float()
          for name, p in Tiny(seed=0).named_parameters()}
assert bits(first) == bits(wanted)

straight = []
for step in range(6):
    if step == 3:
        saved, weights_then = copy.deepcopy(engine.export_state()), bits(engine.full_weights())
    engine.evaluate(batches(99, 2))
    straight.append(engine.train_step(batches(step, 3), 0.05))
ended = bits(engine.full_weights())
assert straight[-1].loss < straight[0].loss
assert ended != weights_then

# A new engine with other weights goes on from the state, without the validations, to the same bits.
again = Engine(Tiny(seed=5), config, local_rank=rank)
try:
    again.import_state({name: tensor for name, tensor in saved.items() if name != "group0.exp_avg"})
except ValueError as error:
    assert "does not fit a model with group0.exp_avg (" in str(error), error
else:
    raise AssertionError("a state without a moment was taken")
again.import_state(saved)
assert bits(again.full_weights()) == weights_then
resumed = [again.train_step(batches(step, 3), 0.05) for step in range(3, 6)]
assert [(o.loss.hex(), o.gradient_norm.hex()) for o in resumed] == [
    (o.loss.hex(), o.gradient_norm.hex()) for o in straight[3:]
]
assert bits(again.full_weights()) == ended

# The mean of all ranks; equal on each.
losses = engine.exchange(engine.evaluate(batches(7, 2)).hex().ljust(30).encode())
assert losses[0] == losses[1]
assert engine.exchange(bytes([rank, 9])) == [bytes([0, 9]), bytes([1, 9])]

# A gradient that is not finite shows itself and moves nothing.
with torch.no_grad():
    engine._model.middle.weight.fill_(float("nan"))
outcome = engine.train_step(batches(7, 3), 0.05)
assert outcome.loss != outcome.loss
assert outcome.gradient_norm == float("inf")
assert bits(engine.full_weights()) == ended
engine.close()
os._exit(0)
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_restored_engine_goes_on_in_the_same_bits(precision: str):
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        together = {
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(reservation.getsockname()[1]),
            "GLOO_SOCKET_IFNAME": "lo",
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        ranks = [
            subprocess.Popen(
                [sys.executable, "-c", _RANK, precision],
                env=os.environ | together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
            )
            for rank in range(2)
        ]
        last_words = [rank.communicate(timeout=120)[1].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(last_words)
