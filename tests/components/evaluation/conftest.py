"""Small real models for the evaluation's tests."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from torch.nn.utils.rnn import pad_sequence

from components.tokens.tokenizer_files import TOKENIZER_FILES, load_text_tokenizer, save_tokenizer
from components.tokens.train_tokenizer import train_bpe
from model.config import ModelConfig
from model.huggingface_format import save_bundle
from model.special_tokens import IGNORED_TARGET
from model.transformer import CodeModel, initialize

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
        context_length_tokens=64,
        rope_theta=None,
        attention_window_tokens=None,
        tied_head=True,
        activation_function="gelu_pytorch_tanh",
        layer_norm_epsilon=1e-5,
        init_std=0.1,
    )


@pytest.fixture(scope="session")
def tokenizer_dir(program: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    tokenizer = train_bpe([program(number) for number in range(20)], VOCAB_SIZE, 2)
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    save_tokenizer(tokenizer, place)
    return place


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir: Path) -> Tokenizer:
    return load_text_tokenizer(tokenizer_dir)


@pytest.fixture
def random_model(shape: ModelConfig) -> CodeModel:
    """Knows nothing, but each token weighs on what follows."""
    model = CodeModel(shape, VOCAB_SIZE)
    initialize(model, shape, seed=1)
    return model.eval()


@pytest.fixture
def uniform_model(random_model: CodeModel) -> CodeModel:
    """Gives every token the same probability."""
    with torch.no_grad():
        for parameter in random_model.parameters():
            parameter.zero_()
    return random_model


@pytest.fixture
def bundle(random_model: CodeModel, shape: ModelConfig, tokenizer_dir: Path, tmp_path: Path) -> Path:
    place = tmp_path / "bundle"
    place.mkdir()
    save_bundle(place, shape, VOCAB_SIZE, random_model.state_dict(), "float32", shard_bytes=10**9)
    for name in TOKENIZER_FILES:
        (place / name).write_bytes((tokenizer_dir / name).read_bytes())
    return place


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Two threads that share tiny products wait for each other for minutes on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model_that_learned(shape: ModelConfig, one_torch_thread: None) -> Callable[[Sequence[Sequence[int]]], CodeModel]:
    """Call it with sequences of ids: a model that has them by heart."""

    def learn(sequences: Sequence[Sequence[int]]) -> CodeModel:
        model = CodeModel(shape, VOCAB_SIZE)
        initialize(model, shape, seed=1)
        rows = [torch.tensor(ids) for ids in sequences]
        tokens = pad_sequence([row[:-1] for row in rows], batch_first=True)
        targets = pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=IGNORED_TARGET)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(300):
            loss = model.loss(tokens, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss.item() < 0.01:
                break
        return model.eval()

    return learn
