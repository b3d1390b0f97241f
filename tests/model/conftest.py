"""One thread for torch, real ranks, and a small real tokenizer and network."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model.config import ModelConfig
from model.document_index import Origin
from model.special_tokens import STARCODER, STARCODER2
from model.token_shards import ShardWriter
from tests.components.storage.s3_servers import remove_bucket
from tests.model.rank_server import RankServer
from tests.model.s3_server import fresh_bucket, live_or_moto


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def ranks():
    """Runs functions in processes that train together."""
    server = RankServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _running_s3():
    with live_or_moto() as running:
        yield running


@pytest.fixture
def s3(_running_s3, monkeypatch):
    """An empty bucket of an S3 server, to which this process's environment points."""
    for name, value in _running_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = fresh_bucket(_running_s3)
    yield bucket
    remove_bucket(bucket.client, bucket.bucket)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level BPE of 320 entries, made as the step train_tokenizer makes its own."""
    return _trained(STARCODER)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, tokenizer):
    """A tokenizer artifact and token shards of random documents of two sources."""
    path = tmp_path_factory.mktemp("corpus")
    (path / "tokenizer").mkdir()
    tokenizer.save(str(path / "tokenizer" / "tokenizer.json"))
    (path / "shards").mkdir()
    writer = ShardWriter(path / "shards", shard_tokens=4000, vocab_size=tokenizer.get_vocab_size())
    random = np.random.default_rng(0)
    for number in range(120):
        tokens = random.integers(19, tokenizer.get_vocab_size(), random.integers(5, 200)).astype(np.uint16)
        split, source = "validation" if number % 6 == 0 else "train", "python" if number % 5 else "issue"
        writer.add(split, source, tokens, len(tokens), Origin(f"owner/r{number % 7}", f"src/m{number}.py"))
    writer.close()
    return path


@pytest.fixture(scope="session")
def starcoder2_tokenizer() -> Tokenizer:
    """The same with StarCoder2's special tokens."""
    return _trained(STARCODER2)


def _trained(special_tokens: tuple[str, ...]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        ["def add(first, second):\n    return first + second\n", "f\u00fcr jede Gr\u00f6\u00dfe: 12, 34 \u4f60\u597d\n"]
        * 20,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=list(special_tokens),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    """Two layers that compute everything a large one does."""
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=2,
        hidden_size=24,
        num_heads=3,
        num_key_value_heads=1,
        feed_forward_size=40,
        context_length_tokens=32,
        rope_theta=None,
        attention_window_tokens=None,
        tied_head=True,
        activation_function="gelu_pytorch_tanh",
        layer_norm_epsilon=1e-5,
        init_std=0.2,
    )


@pytest.fixture(scope="session")
def small_starcoder2() -> ModelConfig:
    """The same of the other family: two query heads for a key/value head, a window far below the context."""
    return ModelConfig(
        family="starcoder2",
        num_layers=2,
        hidden_size=32,
        num_heads=4,
        num_key_value_heads=2,
        feed_forward_size=40,
        context_length_tokens=32,
        rope_theta=1e4,
        attention_window_tokens=6,
        tied_head=False,
        activation_function="gelu_pytorch_tanh",
        layer_norm_epsilon=1e-5,
        init_std=0.2,
    )
