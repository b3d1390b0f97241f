"""python -m benchmarks: the measured comparisons, each against a peer in the same run.

CPU-seconds of one thread, medians over repetitions that alternate with the peer's; the ratios are what counts, the
absolute figures belong to the machine. The last results stand in benchmarks/README.md.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

from components.config import load_config
from model.generate import generate
from model.transformer import CodeModel, initialize

ROOT = Path(__file__).parents[1]
REPETITIONS = 7
BATCH_SIZE = 8
PROMPT_TOKENS, NEW_TOKENS = 64, 96


@dataclass(frozen=True)
class Comparison:
    """One row: what was done, how much of it, in how many CPU-seconds by us and by the peer."""

    what: str
    unit: str
    amount: int
    peer: str
    ours_seconds: float
    peer_seconds: float


def main() -> None:
    """Run every comparison and print the table."""
    torch.set_num_threads(1)
    config = load_config(ROOT / "params.yaml")
    vocab_size = config.train_tokenizer.vocab_size
    ours = CodeModel(config.model, vocab_size)
    initialize(ours, config.model, seed=1)
    peer = _transformers_model(config.model.model_dump(), vocab_size)
    rows = [
        _training(ours, peer, vocab_size, config.model.context_length_tokens),
        _decoding(ours, peer, vocab_size),
    ]
    table = Table(title="CPU-seconds, one thread, median", title_justify="left")
    for heading in ("what", "ours", "peer", "ratio", "against"):
        table.add_column(heading)
    for row in rows:
        ours_rate, peer_rate = row.amount / row.ours_seconds, row.amount / row.peer_seconds
        rates = (f"{ours_rate:,.0f} {row.unit}", f"{peer_rate:,.0f} {row.unit}")
        table.add_row(row.what, *rates, f"{ours_rate / peer_rate:.2f}x", row.peer)
    Console().print(table)


def _transformers_model(shape: dict[str, int], vocab_size: int) -> torch.nn.Module:
    config = transformers.GPTBigCodeConfig(
        vocab_size=vocab_size,
        n_positions=shape["context_length_tokens"],
        n_embd=shape["hidden_size"],
        n_layer=shape["num_layers"],
        n_head=shape["num_heads"],
        n_inner=shape["feed_forward_size"],
        activation_function="gelu_pytorch_tanh",
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    return transformers.GPTBigCodeForCausalLM(config)


def _training(ours: CodeModel, peer: torch.nn.Module, vocab_size: int, context: int) -> Comparison:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocab_size, (BATCH_SIZE, context + 1), generator=generator)

    def train_ours() -> None:
        ours.zero_grad()
        ours.loss(tokens[:, :-1], tokens[:, 1:]).backward()

    def train_peer() -> None:
        peer.zero_grad()
        peer(input_ids=tokens[:, :-1], labels=tokens[:, :-1]).loss.backward()

    seconds = _alternate(train_ours, train_peer)
    what = f"forward and backward, batch {BATCH_SIZE} x {context}, fp32"
    return Comparison(what, "tokens/s", BATCH_SIZE * context, "transformers GPTBigCode, sdpa", *seconds)


def _decoding(ours: CodeModel, peer: torch.nn.Module, vocab_size: int) -> Comparison:
    prompt = torch.randint(19, vocab_size, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))

    def decode_ours() -> None:
        generate(ours, prompt[0].tolist(), NEW_TOKENS, stop_ids=frozenset())

    def decode_peer() -> None:
        with torch.inference_mode():
            peer.generate(prompt, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)

    seconds = _alternate(decode_ours, decode_peer)
    what = f"greedy decoding with cache, {PROMPT_TOKENS} + {NEW_TOKENS} tokens, fp32"
    return Comparison(what, "tokens/s", NEW_TOKENS, "transformers generate, sdpa", *seconds)


def _alternate(ours: Callable[[], None], peer: Callable[[], None]) -> tuple[float, float]:
    """Median CPU-seconds of each, measured in turns so that both meet the same machine."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repetition in range(REPETITIONS + 1):
        for work, taken in zip((ours, peer), seconds, strict=True):
            started = time.process_time()
            work()
            if repetition:  # the first turn warms up
                taken.append(time.process_time() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


if __name__ == "__main__":
    main()
