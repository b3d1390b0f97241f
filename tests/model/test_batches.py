"""Which samples a step reads depends on nothing but the step; what is in them is what the shards hold."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batches import ShortCorpusError, TrainBatches, validation_sources, windows_of
from model.config import FillInMiddleConfig, ParallelLayout, PretrainConfig
from model.source_blend import BlendError
from model.special_tokens import FIM_PAD, FIM_PREFIX, IGNORED_TARGET
from model.text_codec import ByteLevelCodec
from model.token_shards import ShardWriter, TokenShards

CONTEXT = 16
TRAIN_TOKENS = {"c": 415, "issue": 100, "python": 1000, "tiny": 10}
TRAIN_WINDOWS = {"c": 25, "issue": 6, "python": 62, "tiny": 0}
VALIDATION_TOKENS = {"c": 150, "issue": 20, "python": 400, "tiny": 5}
VALIDATION_WINDOWS = {"c": 9, "issue": 1, "python": 24, "tiny": 0}


def config_of(num_replicas=1, micro_batch_size=4, accumulation_steps=1, rate=0.0, seed=3, num_validation=3, blend=None):
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
        blend=blend or {},
        validate_every_steps=5,
        validation_batches=num_validation,
        checkpoint_every_steps=5,
        seed=seed,
        start_from=None,
    )


def write_shards(path, **tokens_by_source):
    """Random documents; a source's bytes depend on its name and size alone."""
    path.mkdir(exist_ok=True)
    writer = ShardWriter(path, shard_tokens=200, vocab_size=320)
    for split, sizes in tokens_by_source.items():
        for source, total in sizes.items():
            generator = np.random.default_rng([len(split), *source.encode()])
            while total:
                length = min(total, int(generator.integers(2, 60)))
                document = generator.integers(19, 320, length - 1).astype(np.uint16)
                writer.add(split, source, document, num_bytes=length)
                total -= length
    writer.close()
    return TokenShards(path)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), train=TRAIN_TOKENS, validation=VALIDATION_TOKENS)


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
    step=st.integers(0, 40) | st.integers(0, 10**9),
    blend=st.sampled_from([{}, {"c": 5, "issue": 0.25, "python": 1, "tiny": 0}]),
)
@settings(max_examples=40, deadline=None)
def test_a_step_reads_the_same_windows_in_any_layout_wherever_it_starts(shards, codec, layout, step, blend):
    num_replicas, micro_batch_size, accumulation_steps = layout
    config = config_of(num_replicas, micro_batch_size, accumulation_steps, rate=0.5, blend=blend)
    expected_config = config_of(1, 8, 1, rate=0.5, blend=blend)
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
@pytest.mark.parametrize("blend", [{}, {"c": 5, "issue": 0.25, "python": 1, "tiny": 0}])
def test_an_epoch_of_a_source_reads_every_window_once_and_the_next_in_another_order(shards, codec, seed, blend):
    batches = TrainBatches(shards, codec, config_of(seed=seed, blend=blend), CONTEXT)
    assert batches.num_windows == TRAIN_WINDOWS
    orders = {source: [] for source in TRAIN_WINDOWS}
    for number in range(10_000):
        source, window = batches.window_of(number)
        orders[source].append(window)
    for source, windows in TRAIN_WINDOWS.items():
        epochs = [orders[source][start : start + windows] for start in range(0, 3 * windows, windows or 1)]
        for order in epochs:
            assert sorted(order) == list(range(windows))
        assert len(set(map(tuple, epochs))) == len(epochs), source


def test_the_natural_mixture_reads_all_sources_equally_often(shards, codec):
    batches = TrainBatches(shards, codec, config_of(), CONTEXT)
    epoch = sum(TRAIN_WINDOWS.values())
    for epochs in (1, 2, 7, 1000):
        counts = Counter(batches.window_of(number)[0] for number in range(epochs * epoch)) if epochs < 10 else None
        for source, windows in TRAIN_WINDOWS.items():
            if windows:
                read = batches.blend.count(source, epochs * epoch)
                assert counts is None or counts[source] == read
                assert abs(read - epochs * windows) < (epochs * epoch).bit_count()


@given(
    blend=st.fixed_dictionaries({source: st.floats(0.01, 100) for source in ("c", "issue", "python")}),
    block=st.integers(0, 10**9),
)
@settings(max_examples=20, deadline=None)
def test_a_block_of_1024_samples_has_the_shares_that_were_asked_for(shards, codec, blend, block):
    batches = TrainBatches(shards, codec, config_of(blend=blend | {"tiny": 0}), CONTEXT)
    counts = Counter(batches.window_of(number)[0] for number in range(1024 * block, 1024 * (block + 1)))
    for source, weight in blend.items():
        assert abs(counts[source] - 1024 * weight / sum(blend.values())) < 1 + 1e-9


@given(other=st.integers(CONTEXT + 1, 5000), more=st.sampled_from(["c", "python", "new"]), count=st.integers(1, 200))
@settings(max_examples=15, deadline=None)
def test_how_large_one_source_is_moves_nothing_in_another(tmp_path_factory, shards, codec, other, more, count):
    sizes = TRAIN_TOKENS | {more: other}
    changed = write_shards(tmp_path_factory.mktemp("changed"), train=sizes, validation=VALIDATION_TOKENS)
    streams = {}
    for which in (shards, changed):
        batches, number = TrainBatches(which, codec, config_of(), CONTEXT), 0
        read = streams.setdefault(which, [])
        while len(read) < count:
            source, window = batches.window_of(number)
            if source == "issue":
                read.append((window, batches.sample(number).tobytes()))
            number += 1
    assert streams[shards] == streams[changed]


def test_samples_far_out_cost_nothing(shards, codec):
    source, window = TrainBatches(shards, codec, config_of(), CONTEXT).window_of(10**18)
    assert 0 <= window < TRAIN_WINDOWS[source]


def test_the_order_is_the_same_on_every_machine(shards, codec):
    batches = TrainBatches(shards, codec, config_of(), CONTEXT)
    assert [batches.window_of(number) for number in (0, 1, 2, 3, 10**9)] == [
        *(("c", 15), ("python", 2), ("c", 23), ("python", 19), ("c", 5))
    ]


@pytest.mark.parametrize(
    ("blend", "said"),
    [
        ({"python": 1, "java": 1}, "names 'java', but the sources of split 'train' are c, issue, python, tiny"),
        ({"python": 1}, "no weight for source 'c'"),
        ({"c": 1, "issue": 1, "python": 1, "tiny": 1}, "'tiny', which does not fill one window"),
    ],
)
def test_a_blend_that_does_not_fit_the_sources_is_refused(shards, codec, blend, said):
    with pytest.raises(BlendError, match=said):
        TrainBatches(shards, codec, config_of(blend=blend), CONTEXT)


def test_batches_are_windows_of_the_stream_with_the_next_token_as_target(shards, codec):
    streams = {source: shards.window("train", source, 0, tokens) for source, tokens in TRAIN_TOKENS.items()}
    config = config_of(num_replicas=2, micro_batch_size=3, accumulation_steps=2)
    batches = TrainBatches(shards, codec, config, CONTEXT)
    parts = batches.batch(step=4, rank=1)
    assert len(parts) == 2
    for accumulation, (tokens, targets) in enumerate(parts):
        assert tokens.shape == targets.shape == (3, CONTEXT)
        assert tokens.dtype == targets.dtype == np.int64
        for slot in range(3):
            source, number = batches.window_of(4 * 12 + accumulation * 6 + 3 + slot)
            window = streams[source][number * CONTEXT : (number + 1) * CONTEXT + 1]
            assert np.array_equal(tokens[slot], window[:-1])
            assert np.array_equal(targets[slot], window[1:])


def test_fill_in_middle_is_applied_and_its_padding_is_no_target(tmp_path, codec):
    # Letter by letter, a text takes more ids than its merges, so a turned window ends in padding.
    letters = [codec.encode(letter)[0] for letter in "return first, second " * 20]
    writer = ShardWriter(tmp_path, shard_tokens=200, vocab_size=320)
    writer.add("train", "python", letters, num_bytes=len(letters))
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
    first, second = [number for number in range(300) if batches.window_of(number) == ("python", 5)][:2]
    assert not np.array_equal(batches.sample(first), batches.sample(second))


def validation_windows(shards, config):
    """Of each source the windows that all replicas read, each as often as it is read; all parts equally shaped."""
    per_rank = [validation_sources(shards, config, CONTEXT, rank) for rank in range(config.layout.data)]
    read = {}
    for parts in zip(*per_rank, strict=True):
        name, share = parts[0].name, parts[0].share
        assert {(part.name, part.share) for part in parts} == {(name, share)}
        assert len({len(part.batches) for part in parts}) == 1
        assert len({tokens.shape for part in parts for tokens, _ in part.batches}) == 1
        assert parts[0].batches[0][0].shape[0] <= config.micro_batch_size
        stream = shards.window("validation", name, 0, VALIDATION_TOKENS[name])
        possible = {stream[n * CONTEXT : (n + 1) * CONTEXT].tobytes(): n for n in range(VALIDATION_WINDOWS[name])}
        read[name] = Counter(
            possible[window.tobytes()] for part in parts for batch in part.batches for window in batch[0]
        )
    return read


@pytest.mark.parametrize(
    ("micro_batch_size", "num_validation", "expected"),
    [
        (4, 3, {"c": 4, "issue": 1, "python": 4}),
        (4, 6, {"c": 4, "issue": 1, "python": 16}),
        (4, 1000, {"c": 8, "issue": 1, "python": 24}),
        (1, 2, {"c": 1, "python": 1}),
        (1, 20, {"c": 5, "issue": 1, "python": 14}),
        (1, 1000, VALIDATION_WINDOWS),
        (64, 1, {"python": 24}),
        (64, 3, VALIDATION_WINDOWS),
    ],
)
def test_validation_windows_are_shared_out_and_any_layout_reads_the_same(
    shards, micro_batch_size, num_validation, expected
):
    expected = {source: windows for source, windows in expected.items() if windows}
    for num_replicas in (1, 2, 3, 4, 5, 8, 24, 32):
        read = validation_windows(shards, config_of(num_replicas, micro_batch_size, num_validation=num_validation))
        assert {source: len(numbers) for source, numbers in read.items()} == expected
        for source, numbers in read.items():
            assert len(set(numbers.values())) == 1, "a window that more replicas read than another would weigh more"
            spread = sorted(numbers)
            assert spread[0] == 0
            assert max(np.diff([*spread, VALIDATION_WINDOWS[source]])) <= -(-VALIDATION_WINDOWS[source] // len(spread))


@pytest.mark.parametrize("num_replicas", [2, 4, 8])
def test_replicas_share_the_work_where_the_windows_can_be_dealt_out(shards, num_replicas):
    sources = validation_sources(shards, config_of(num_replicas, 4, num_validation=1000), CONTEXT, rank=0)
    python = next(source for source in sources if source.name == "python")
    assert sum(len(tokens) for tokens, _ in python.batches) == 24 // num_replicas


def test_the_weight_of_a_source_in_the_mean_is_its_share_of_the_tokens(shards):
    shares = {source.name: source.share for source in validation_sources(shards, config_of(), CONTEXT, rank=0)}
    assert shares == {"c": 150 / 570, "issue": 20 / 570, "python": 400 / 570}
    assert sum(shares.values()) == pytest.approx(1)


def test_validation_targets_are_the_next_tokens(shards):
    for source in validation_sources(shards, config_of(), CONTEXT, rank=0):
        for tokens, targets in source.batches:
            assert np.array_equal(tokens[:, 1:], targets[:, :-1])


@pytest.mark.parametrize("tokens", [0, 2, CONTEXT])
def test_a_corpus_shorter_than_a_window_is_refused(tmp_path, codec, tokens):
    short = write_shards(tmp_path, train={"c": tokens, "python": tokens}, validation={"c": tokens})
    with pytest.raises(ShortCorpusError, match=f"'train' has {2 * tokens} tokens, .*which takes {CONTEXT + 1}"):
        TrainBatches(short, codec, config_of(), CONTEXT)
    with pytest.raises(ShortCorpusError, match=f"'validation' has {tokens} tokens"):
        validation_sources(short, config_of(), CONTEXT, rank=0)


def test_a_corpus_of_one_window_is_enough(tmp_path, codec):
    shortest = write_shards(tmp_path, train={"c": CONTEXT + 1, "tiny": 3}, validation={"c": CONTEXT + 1})
    assert windows_of(shortest, "train", CONTEXT) == {"c": 1, "tiny": 0}
    (tokens, _), *_ = TrainBatches(shortest, codec, config_of(), CONTEXT).batch(0, 0)
    assert np.array_equal(tokens, np.tile(shortest.window("train", "c", 0, CONTEXT), (4, 1)))
    for rank in range(2):
        (source,) = validation_sources(shortest, config_of(num_replicas=2), CONTEXT, rank)
        ((tokens, _),) = source.batches
        assert np.array_equal(tokens[0], shortest.window("validation", "c", 0, CONTEXT))
