"""Which samples a step reads depends on nothing but the step; what is in them is what the shards hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batches import ShortCorpusError, TrainBatches, validation_batches
from model.config import FillInMiddleConfig, ParallelLayout, PretrainConfig
from model.special_tokens import FIM_PAD, FIM_PREFIX, IGNORED_TARGET
from model.text_codec import ByteLevelCodec
from model.token_shards import ShardWriter, TokenShards

CONTEXT = 16
TRAIN_TOKENS = 1000
VALIDATION_TOKENS = 400


def config_of(num_replicas=1, micro_batch_size=4, accumulation_steps=1, rate=0.0, seed=3, num_validation=3):
    return PretrainConfig(
        recipe=1,
        layout=ParallelLayout(data=num_replicas, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=1),
        threads_per_process=1,
        precision="fp32",
        document_attention="across",
        activation_checkpointing="none",
        compile_blocks=False,
        loss_chunk_tokens=2048,
        z_loss_weight=0.0,
        micro_batch_size=micro_batch_size,
        accumulation_steps=accumulation_steps,
        num_steps=10,
        learning_rate=1e-3,
        min_learning_rate=1e-4,
        warmup_steps=2,
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        gradient_clip_norm=1.0,
        fill_in_middle=FillInMiddleConfig(rate=rate, spm_rate=0.5),
        blend={},
        validate_every_steps=5,
        validation_batches=num_validation,
        checkpoint_every_steps=5,
        seed=seed,
    )


def write_shards(path, train_tokens, validation_tokens):
    writer = ShardWriter(path, shard_tokens=200, vocab_size=320)
    generator = np.random.default_rng(0)
    for split, total in {"train": train_tokens, "validation": validation_tokens}.items():
        while total:
            length = min(total, int(generator.integers(2, 60)))
            writer.add(split, generator.integers(19, 320, length - 1).astype(np.uint16), num_bytes=length)
            total -= length
    writer.close()
    return TokenShards(path)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), TRAIN_TOKENS, VALIDATION_TOKENS)


@pytest.fixture(scope="module")
def codec(tokenizer):
    return ByteLevelCodec(tokenizer)


def windows_of_step(batches, config, step):
    """The step's windows in the order of samples, whoever reads them."""
    per_rank = [batches.batch(step, rank) for rank in range(config.layout.data)]
    return np.concatenate(
        [
            tokens
            for accumulation in range(config.accumulation_steps)
            for tokens, _ in (parts[accumulation] for parts in per_rank)
        ]
    )


@given(
    layout=st.sampled_from([(1, 8, 1), (2, 4, 1), (4, 2, 1), (8, 1, 1), (1, 4, 2), (2, 2, 2), (2, 1, 4), (1, 1, 8)]),
    step=st.integers(0, 40),
)
@settings(max_examples=40, deadline=None)
def test_a_step_reads_the_same_windows_in_any_layout(shards, codec, layout, step):
    num_replicas, micro_batch_size, accumulation_steps = layout
    config = config_of(num_replicas, micro_batch_size, accumulation_steps, rate=0.5)
    expected_config = config_of(1, 8, 1, rate=0.5)
    given_windows = windows_of_step(TrainBatches(shards, codec, config, CONTEXT), config, step)
    expected = windows_of_step(TrainBatches(shards, codec, expected_config, CONTEXT), expected_config, step)
    assert np.array_equal(given_windows, expected)


def test_a_reader_that_starts_in_the_middle_reads_what_one_from_the_start_does(shards, codec):
    config = config_of(rate=0.5)
    first, second = (TrainBatches(shards, codec, config, CONTEXT) for _ in range(2))
    through = [first.batch(step, 0) for step in range(30)]
    for step in (29, 7, 16):
        for mine, theirs in zip(second.batch(step, 0), through[step], strict=True):
            assert np.array_equal(mine[0], theirs[0])
            assert np.array_equal(mine[1], theirs[1])


@pytest.mark.parametrize("seed", [0, 3, 2**63 - 1])
def test_an_epoch_reads_every_window_once_and_the_next_in_another_order(shards, codec, seed):
    batches = TrainBatches(shards, codec, config_of(seed=seed), CONTEXT)
    assert batches.num_windows == (TRAIN_TOKENS - 1) // CONTEXT == 62
    epochs = [[batches.window_of(epoch * 62 + position) for position in range(62)] for epoch in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(62))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_batches_are_windows_of_the_stream_with_the_next_token_as_target(shards, codec):
    stream = shards.window("train", 0, TRAIN_TOKENS)
    config = config_of(num_replicas=2, micro_batch_size=3, accumulation_steps=2)
    batches = TrainBatches(shards, codec, config, CONTEXT)
    parts = batches.batch(step=4, rank=1)
    assert len(parts) == 2
    for accumulation, (tokens, targets) in enumerate(parts):
        assert tokens.shape == targets.shape == (3, CONTEXT)
        assert tokens.dtype == targets.dtype == np.int64
        for slot in range(3):
            number = batches.window_of(4 * 12 + accumulation * 6 + 3 + slot)
            window = stream[number * CONTEXT : (number + 1) * CONTEXT + 1]
            assert np.array_equal(tokens[slot], window[:-1])
            assert np.array_equal(targets[slot], window[1:])


def test_fill_in_middle_is_applied_and_its_padding_is_no_target(tmp_path, codec):
    # Letter by letter, a text takes more ids than its merges, so a turned window ends in padding.
    letters = [codec.encode(letter)[0] for letter in "return first, second " * 20]
    writer = ShardWriter(tmp_path, shard_tokens=200, vocab_size=320)
    writer.add("train", letters, num_bytes=len(letters))
    writer.close()
    batches = TrainBatches(TokenShards(tmp_path), codec, config_of(rate=1.0), context_length=40)
    for step in range(20):
        ((tokens, targets),) = batches.batch(step, 0)
        windows = np.stack([batches.sample(step * 4 + slot) for slot in range(4)])
        assert (windows == FIM_PREFIX).any(axis=1).all()
        assert (windows[:, -1] == FIM_PAD).any()
        assert np.array_equal(tokens, windows[:, :-1])
        assert np.array_equal(targets == IGNORED_TARGET, windows[:, 1:] == FIM_PAD)
        assert np.array_equal(targets[targets != IGNORED_TARGET], windows[:, 1:][targets != IGNORED_TARGET])


def test_the_same_window_is_turned_anew_in_the_next_epoch(shards, codec):
    batches = TrainBatches(shards, codec, config_of(rate=1.0), CONTEXT)
    first = next(number for number in range(62) if batches.window_of(number) == 5)
    second = next(number for number in range(62, 124) if batches.window_of(number) == 5)
    assert not np.array_equal(batches.sample(first), batches.sample(second))


@pytest.mark.parametrize(
    ("num_replicas", "micro_batch_size", "num_validation"),
    [(1, 4, 3), (2, 2, 3), (3, 2, 4), (1, 8, 100), (4, 8, 1), (5, 4, 2)],
)
def test_validation_is_shared_evenly_and_covers_the_split(shards, num_replicas, micro_batch_size, num_validation):
    config = config_of(num_replicas, micro_batch_size, num_validation=num_validation)
    per_rank = [validation_batches(shards, config, CONTEXT, rank) for rank in range(num_replicas)]
    assert len({len(batches) for batches in per_rank}) == 1
    assert len({tokens.shape for batches in per_rank for tokens, _ in batches}) == 1
    windows = np.concatenate([tokens for batches in per_rank for tokens, _ in batches])
    assert len(windows) <= min(24, micro_batch_size * num_validation)
    assert len(windows) > min(24, micro_batch_size * num_validation) - num_replicas * micro_batch_size
    assert per_rank[0][0][0].shape[0] <= micro_batch_size
    stream = shards.window("validation", 0, VALIDATION_TOKENS)
    possible = {bytes(stream[n * CONTEXT : (n + 1) * CONTEXT].tobytes()): n for n in range(24)}
    numbers = sorted(possible[window.tobytes()] for window in windows)
    assert len(set(numbers)) == len(numbers)
    assert numbers[0] == 0
    assert max(np.diff([*numbers, 24])) <= -(-24 // len(numbers))


def test_validation_targets_are_the_next_tokens(shards):
    for tokens, targets in validation_batches(shards, config_of(), CONTEXT, rank=0):
        assert np.array_equal(tokens[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("tokens", [0, 2, CONTEXT])
def test_a_corpus_shorter_than_a_window_is_refused(tmp_path, codec, tokens):
    short = write_shards(tmp_path, tokens, tokens)
    with pytest.raises(ShortCorpusError, match=f"'train' has {tokens} tokens, but one window takes {CONTEXT + 1}"):
        TrainBatches(short, codec, config_of(), CONTEXT)
    with pytest.raises(ShortCorpusError, match=f"'validation' has {tokens} tokens"):
        validation_batches(short, config_of(), CONTEXT, rank=0)


def test_a_corpus_of_one_window_is_enough(tmp_path, codec):
    shortest = write_shards(tmp_path, CONTEXT + 1, CONTEXT + 1)
    (tokens, _), *_ = TrainBatches(shortest, codec, config_of(), CONTEXT).batch(0, 0)
    assert np.array_equal(tokens, np.tile(shortest.window("train", 0, CONTEXT), (4, 1)))
    assert len(validation_batches(shortest, config_of(), CONTEXT, rank=0)) == 1


def test_fewer_validation_windows_than_replicas_are_refused(tmp_path):
    short = write_shards(tmp_path, 100, CONTEXT + 1)
    with pytest.raises(ShortCorpusError, match=r"1 windows .* too few for 2 replicas"):
        validation_batches(short, config_of(num_replicas=2), CONTEXT, rank=0)
