"""python -m benchmarks.peak_memory ours|peer: MiB that a forward and backward pass needs above the model's own.

The peak of resident memory that the kernel keeps (`VmHWM`), set back before the pass; the gradients are in it, weights
and libraries are not. A first small pass has loaded what is loaded once.
"""

import sys
from pathlib import Path

import torch

from benchmarks.network import ROOT, batch, models, train_ours, train_peer
from components.config import load_config


def main(side: str) -> None:
    """Print the figure."""
    torch.set_num_threads(1)
    config = load_config(ROOT / "params.yaml")
    vocab_size = config.train_tokenizer.vocab_size
    ours, peer = models(config.model, vocab_size)
    tokens = batch(config.model, vocab_size)
    model, train = (ours, train_ours) if side == "ours" else (peer, train_peer)
    train(model, tokens[:1, :9])
    model.zero_grad()
    # 5 resets the peak, see proc_pid_clear_refs(5).
    Path("/proc/self/clear_refs").write_text("5")
    before = _kibibytes("VmRSS")
    train(model, tokens)
    print((_kibibytes("VmHWM") - before) / 1024)


def _kibibytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


if __name__ == "__main__":
    main(sys.argv[1])
