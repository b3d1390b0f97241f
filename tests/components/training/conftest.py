"""One tiny training, done once and read by many tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.tokens.tokenizer_files import encode_text, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from components.training.pretrain import PretrainSummary, run
from model.config import FillInMiddleConfig, ModelConfig, ParallelLayout, PretrainConfig
from model.token_shards import ShardWriter

VOCAB_SIZE = 320


@pytest.fixture(scope="session")
def shape() -> ModelConfig:
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=2,
        hidden_size=32,
        num_heads=2,
        num_key_value_heads=1,
        feed_forward_size=64,
        context_length_tokens=32,
        rope_theta=None,
        attention_window_tokens=None,
        tied_head=True,
        layer_norm_epsilon=1e-5,
        init_std=0.02,
    )


@pytest.fixture(scope="session")
def config() -> PretrainConfig:
    return PretrainConfig(
        recipe=1,
        layout=ParallelLayout(data=1, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=1),
        threads_per_process=1,
        precision="fp32",
        document_attention="across",
        activation_checkpointing="none",
        compile_blocks=False,
        loss_chunk_tokens=2048,
        z_loss_weight=0.0,
        micro_batch_size=4,
        accumulation_steps=1,
        num_steps=6,
        learning_rate=3e-3,
        min_learning_rate=3e-4,
        warmup_steps=1,
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        gradient_clip_norm=1.0,
        fill_in_middle=FillInMiddleConfig(rate=0.5, spm_rate=0.5),
        blend={},
        validate_every_steps=3,
        validation_batches=2,
        checkpoint_every_steps=3,
        seed=11,
        start_from=None,
    )


@dataclass(frozen=True)
class Trained:
    """Where the training's inputs and outputs lie."""

    token_shards: Path
    tokenizer: Path
    checkpoint: Path
    summary: PretrainSummary


@pytest.fixture(scope="session")
def pretrain_inputs(program: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Token shards and their tokenizer."""
    tokenizer_dir, shards_dir = tmp_path_factory.mktemp("tokenizer"), tmp_path_factory.mktemp("shards")
    texts = [program(number) for number in range(20)]
    save_tokenizer(train_bpe(texts, VOCAB_SIZE, 2), tokenizer_dir)
    tokenizer = load_text_tokenizer(tokenizer_dir)
    writer = ShardWriter(shards_dir, 2048, tokenizer.get_vocab_size())
    for number, text in enumerate(texts):
        split = "validation" if number % 4 == 0 else "train"
        writer.add(split, "python" if number % 5 else "c", encode_text(tokenizer, text), len(text.encode()))
    writer.close()
    return shards_dir, tokenizer_dir


@pytest.fixture(scope="session")
def pretrain(
    pretrain_inputs: tuple[Path, Path], shape: ModelConfig, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[PretrainConfig], Trained]:
    """Call it to train; each call anew."""

    def call(config: PretrainConfig) -> Trained:
        shards, tokenizer = pretrain_inputs
        out, work_dir = tmp_path_factory.mktemp("checkpoint"), tmp_path_factory.mktemp("work")
        summary = run(
            config,
            model=shape,
            token_shards=shards,
            tokenizer=tokenizer,
            workspace=Path(),
            out=out,
            work_dir=work_dir,
        )
        return Trained(shards, tokenizer, out, summary)

    return call


@pytest.fixture(scope="session")
def trained(pretrain: Callable[[PretrainConfig], Trained], config: PretrainConfig) -> Trained:
    """A finished training."""
    return pretrain(config)


@pytest.fixture
def metric_lines() -> Callable[[int], Sequence[str]]:
    """Call it with a number of steps: lines of a `metrics.jsonl`."""
    return lambda count: [
        f'{{"gradient_norm":1.5,"learning_rate":{0.001 * (1 - step / (count + 1)):.6f},"loss":{2 + 6 / step:.4f},'
        f'"step":{step},"tokens":{step * 128}'
        + (
            f',"validation_loss":{2.1 + 6 / step:.4f},"validation_loss/c":{1.8 + 6 / step:.4f},'
            f'"validation_loss/python":{2.4 + 6 / step:.4f}}}'
            if step % 10 == 0
            else "}"
        )
        for step in range(1, count + 1)
    ]
