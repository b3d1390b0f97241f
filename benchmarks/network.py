"""Training and decoding of the small model against the transformers library with the same shape."""

from pathlib import Path

import torch
import transformers

from benchmarks.comparison import Comparison, alternate
from components.config import load_config
from model.generate import generate
from model.transformer import CodeModel, initialize

ROOT = Path(__file__).parents[1]
BATCH_SIZE = 8
PROMPT_TOKENS, NEW_TOKENS = 64, 96


def compare() -> list[Comparison]:
    """Two rows: a forward and backward pass, and greedy decoding."""
    torch.set_num_threads(1)
    config = load_config(ROOT / "params.yaml")
    vocab_size = config.train_tokenizer.vocab_size
    ours = CodeModel(config.model, vocab_size)
    initialize(ours, config.model, seed=1)
    peer = _transformers_model(config.model.model_dump(), vocab_size)
    return [
        _training(ours, peer, vocab_size, config.model.context_length_tokens),
        _decoding(ours, peer, vocab_size),
    ]


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

    seconds = alternate(train_ours, train_peer)
    what = f"forward and backward, batch {BATCH_SIZE} x {context}, fp32"
    return Comparison(what, "tokens/s", BATCH_SIZE * context, "transformers GPTBigCode, sdpa", *seconds)


def _decoding(ours: CodeModel, peer: torch.nn.Module, vocab_size: int) -> Comparison:
    prompt = torch.randint(19, vocab_size, (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))

    def decode_ours() -> None:
        generate(ours, prompt[0].tolist(), NEW_TOKENS, stop_ids=frozenset())

    def decode_peer() -> None:
        with torch.inference_mode():
            peer.generate(prompt, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)

    seconds = alternate(decode_ours, decode_peer)
    what = f"greedy decoding with cache, {PROMPT_TOKENS} + {NEW_TOKENS} tokens, fp32"
    return Comparison(what, "tokens/s", NEW_TOKENS, "transformers generate, sdpa", *seconds)
