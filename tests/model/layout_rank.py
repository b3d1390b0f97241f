"""What a rank does in the tests of layouts: each function trains a small model and returns what JSON can hold."""

import hashlib
import os
from pathlib import Path

import numpy as np

from model import tensor_parallel
from model.config import FillInMiddleConfig, ModelConfig, ParallelLayout, PretrainConfig
from model.engine import Engine
from model.special_tokens import IGNORED_TARGET
from model.training_state import StateReader, state_bytes

VOCAB_SIZE = 60
CONTEXT = 32
MICRO_BATCHES = 4
"""In a step, over all replicas."""
_FAMILIES = {
    "gpt_bigcode": {
        "num_key_value_heads": 1,
        "rope_theta": None,
        "attention_window_tokens": None,
        "tied_head": True,
    },
    "starcoder2": {
        "num_key_value_heads": 2,
        "rope_theta": 1e4,
        "attention_window_tokens": 7,
        "tied_head": False,
    },
}


def model_of(family, **changed):
    return ModelConfig.model_validate(
        {
            "family": family,
            "num_layers": 4,
            "hidden_size": 32,
            "num_heads": 4,
            "feed_forward_size": 64,
            "context_length_tokens": CONTEXT,
            "layer_norm_epsilon": 1e-5,
            "init_std": 0.1,
        }
        | _FAMILIES[family]
        | changed
    )


def config_of(layout, **changed):
    """Clips every step and decays, so that a wrong norm or a wrong group of parameters moves the losses.

    Steps are small, for Adam makes a full one also of a gradient that is nothing but rounding.
    """
    layout = ParallelLayout.model_validate(
        {"data": 1, "tensor": 1, "pipeline": 1, "sequence_parallel": False, "zero_stage": 1} | layout
    )
    return PretrainConfig.model_validate(
        {
            "recipe": 1,
            "layout": layout,
            "threads_per_process": 1,
            "precision": "fp32",
            "document_attention": "across",
            "activation_checkpointing": "none",
            "compile_blocks": False,
            "loss_chunk_tokens": 40,
            "z_loss_weight": 0.0,
            "micro_batch_size": 2,
            "accumulation_steps": MICRO_BATCHES // layout.data,
            "num_steps": 6,
            "learning_rate": 1e-3,
            "min_learning_rate": 1e-3,
            "warmup_steps": 0,
            "weight_decay": 0.1,
            "adam_beta1": 0.9,
            "adam_beta2": 0.95,
            "adam_epsilon": 1e-8,
            "gradient_clip_norm": 0.25,
            "fill_in_middle": FillInMiddleConfig(rate=0, spm_rate=0),
            "blend": {},
            "validate_every_steps": 1,
            "validation_batches": 1,
            "checkpoint_every_steps": 1,
            "seed": 1,
            "start_from": None,
        }
        | changed
    )


class Rank:
    """An engine, and what it reads. `spec` names family and layout, and what else of PretrainConfig differs."""

    def __init__(self, spec):
        self.config = config_of(spec.get("layout", {}), **spec.get("pretrain", {}))
        self.engine = Engine(model_of(spec["family"]), VOCAB_SIZE, self.config, int(os.environ["LOCAL_RANK"]))

    def steps(self, numbers):
        """Loss and norm of each."""
        outcomes = [self.engine.train_step(self.batches(number), self.config.learning_rate) for number in numbers]
        return [(outcome.loss, outcome.gradient_norm) for outcome in outcomes]

    def batches(self, step):
        """Of this replica: something to learn, and some targets that do not count."""
        random = np.random.default_rng(step)
        tokens = random.integers(0, VOCAB_SIZE, (MICRO_BATCHES, 2, CONTEXT))
        targets = np.where(random.random(tokens.shape) < 0.1, IGNORED_TARGET, (7 * tokens + 3) % VOCAB_SIZE)
        mine = slice(self.engine.data_rank, None, self.config.layout.data)
        return list(zip(tokens[mine], targets[mine], strict=True))

    def second_half(self):
        """The last three steps, to the bit."""
        bits = [[number.hex() for number in step] for step in self.steps(range(3, 6))]
        state = hashlib.sha256(state_bytes(self.engine.export_state())).hexdigest()
        self.engine.close()
        return {"bits": bits, "state": state}


def train(spec):
    """Six steps and a validation."""
    if "untagged" in spec:
        _leave_untagged(spec["untagged"])
    rank = Rank(spec)
    steps = rank.steps(range(6))
    validation = rank.engine.evaluate(rank.batches(99))
    rank.engine.close()
    return {"steps": steps, "validation": validation}


def names(spec):
    """Of the parameters that this rank computes with."""
    rank = Rank(spec)
    found = sorted(rank.engine._names)
    rank.engine.close()
    return found


def train_and_save(spec):
    """Three steps, then each rank's state into `folder`, then three more."""
    rank = Rank(spec)
    rank.steps(range(3))
    file = Path(spec["folder"]) / f"rank-{rank.engine.rank:05d}.safetensors"
    file.write_bytes(state_bytes(rank.engine.export_state()))
    return rank.second_half()


def resume(spec):
    """The last three steps, from the states in `folder`."""
    rank = Rank(spec)
    rank.engine.import_state(StateReader(sorted(Path(spec["folder"]).glob("*.safetensors"))), 3)
    return rank.second_half()


def _leave_untagged(which):
    """Let one kind of shared layer forget to say that its weights are parts."""
    kind = getattr(tensor_parallel, which)
    build = kind.__init__

    def build_untagged(self, *arguments):
        build(self, *arguments)
        for parameter in self.parameters():
            if hasattr(parameter, "tensor_model_parallel"):
                del parameter.tensor_model_parallel

    kind.__init__ = build_untagged
