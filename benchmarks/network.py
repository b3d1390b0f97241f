"""A step of training of the small model, its speed and its memory, against the transformers library.

The peer model is loaded from what we export, so both compute the same function.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from benchmarks.comparison import Comparison, alternate
from components.config import load_config
from model.config import ModelConfig
from model.huggingface_format import save_bundle
from model.transformer import CodeModel, initialize

ROOT = Path(__file__).parents[1]
BATCH_SIZE = 8
PEER = "transformers GPTBigCode, sdpa"


def compare() -> list[Comparison]:
    """Speed and memory of a forward and backward pass."""
    torch.set_num_threads(1)
    config = load_config(ROOT / "params.yaml")
    shape, vocab_size = config.model, config.train_tokenizer.vocab_size
    return [_training(shape, vocab_size), _memory(shape)]


def models(shape: ModelConfig, vocab_size: int) -> tuple[CodeModel, torch.nn.Module]:
    """Ours, and the peer with the same weights."""
    ours = CodeModel(shape, vocab_size)
    initialize(ours, shape, seed=1)
    with tempfile.TemporaryDirectory() as place:
        save_bundle(Path(place), shape, vocab_size, ours.state_dict(), "float32", shard_bytes=10**10)
        peer = transformers.AutoModelForCausalLM.from_pretrained(place, attn_implementation="sdpa")
    return ours, peer


def batch(shape: ModelConfig, vocab_size: int) -> torch.Tensor:
    """BATCH_SIZE whole contexts of random ids, and one more for the last target."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (BATCH_SIZE, shape.context_length_tokens + 1), generator=generator)


def train_ours(model: CodeModel, tokens: torch.Tensor) -> None:
    """Gradients of one batch."""
    model.zero_grad()
    model.loss(tokens[:, :-1], tokens[:, 1:], chunk_tokens=512).backward()


def train_peer(model: torch.nn.Module, tokens: torch.Tensor) -> None:
    """The same; the library shifts the labels itself, so it loses the last position."""
    model.zero_grad()
    model(input_ids=tokens[:, :-1], labels=tokens[:, :-1]).loss.backward()


def _training(shape: ModelConfig, vocab_size: int) -> Comparison:
    ours, peer = models(shape, vocab_size)
    tokens = batch(shape, vocab_size)
    seconds = alternate(lambda: train_ours(ours, tokens), lambda: train_peer(peer, tokens))
    what = f"forward and backward, batch {BATCH_SIZE} x {shape.context_length_tokens}, fp32"
    return Comparison(what, "tokens/s", tokens[:, :-1].numel(), PEER, *seconds)


def _memory(shape: ModelConfig) -> Comparison:
    """How many tokens of a batch one MiB serves at the peak, each measured in a process of its own."""
    # Every larger block is then given back as soon as it is free, so the peak is that of what is in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    mebibytes = [
        float(subprocess.check_output([sys.executable, "-m", "benchmarks.peak_memory", side], env=environment))
        for side in ("ours", "peer")
    ]
    what = f"the same, memory above the model's at the peak ({mebibytes[0]:,.0f} and {mebibytes[1]:,.0f} MiB)"
    return Comparison(what, "tokens/MiB", BATCH_SIZE * shape.context_length_tokens, PEER, *mebibytes)
