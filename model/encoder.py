"""The bidirectional network: a BERT-like encoder (StarEncoder's shape) with a head that labels each token.

Post-LayerNorm blocks, learned positions, full attention among the tokens of a sequence, GELU in its exact form, biases
everywhere. A token is a bag of K features whose embeddings are added up: with K = 1 and a vocabulary this is BERT;
with hashed features of a word (its letters, its ends, its shape) it needs no vocabulary.

Shapes, as suffixes of tensor names:
    B  sequences            C  hidden size              H  attention heads
    T  tokens               F  feed-forward size        D  head size, C / H
    K  features of a token  L  labels
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn import functional as F

from model.encoder_config import EncoderConfig
from model.special_tokens import IGNORED_TARGET


class SelfAttention(nn.Module):
    """Attention in which every token sees every token of its sequence, before and after."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        # Rows of the fused projection: all queries, then all keys, then all values.
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTC: Tensor, is_token_BT: Tensor | None) -> Tensor:
        """Mix each token with all tokens of its sequence; padding is seen by none."""
        heads = (3, self.num_heads, -1)
        q_BHTD, k_BHTD, v_BHTD = self.qkv(x_BTC).unflatten(2, heads).permute(2, 0, 3, 1, 4)
        visible_B11T = None if is_token_BT is None else is_token_BT[:, None, None, :]
        mixed_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=visible_B11T)
        return self.out(mixed_BHTD.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """One layer: attention, then feed-forward, each added to what it read and normalized after."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.widen = nn.Linear(config.hidden_size, config.feed_forward_size)
        self.narrow = nn.Linear(config.feed_forward_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_fraction)

    def forward(self, x_BTC: Tensor, is_token_BT: Tensor | None) -> Tensor:
        """Pass the tokens on."""
        x_BTC = self.attention_norm(x_BTC + self.dropout(self.attention(x_BTC, is_token_BT)))
        return self.feed_forward_norm(x_BTC + self.dropout(self.narrow(F.gelu(self.widen(x_BTC)))))


class Encoder(nn.Module):
    """Embeddings and blocks: everything but the head."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.features = nn.Embedding(config.num_features, config.hidden_size)
        self.positions = nn.Embedding(config.context_length_tokens, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_fraction)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.num_layers))

    def forward(self, features_BTK: Tensor, is_token_BT: Tensor | None = None) -> Tensor:
        """x_BTC of each token; without `is_token_BT` there is no padding. ValueError beyond the context.

        What stands in a padded place is of no meaning, and no token's result depends on it.
        """
        length = features_BTK.shape[1]
        if length > self.positions.num_embeddings:
            raise ValueError(f"{length} tokens do not fit the context of {self.positions.num_embeddings}")
        x_BTC = self.features(features_BTK).sum(2) + self.positions.weight[:length]
        x_BTC = self.dropout(self.norm(x_BTC))
        for block in self.blocks:
            x_BTC = block(x_BTC, is_token_BT)
        return x_BTC


class TokenClassifier(nn.Module):
    """The encoder and a linear head over labels. Its weights are arbitrary until `initialize` or a load set them."""

    def __init__(self, config: EncoderConfig, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.dropout = nn.Dropout(config.dropout_fraction)
        self.head = nn.Linear(config.hidden_size, num_labels)

    def forward(self, features_BTK: Tensor, is_token_BT: Tensor | None = None) -> Tensor:
        """logits_BTL of each token."""
        return self.head(self.dropout(self.encoder(features_BTK, is_token_BT)))

    def loss(self, features_BTK: Tensor, is_token_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """Mean cross-entropy in nats over labels that are not IGNORED_TARGET, which padding must be."""
        logits_BTL = self(features_BTK, is_token_BT)
        return F.cross_entropy(logits_BTL.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED_TARGET)

    @torch.inference_mode()
    def log_probabilities(self, features_TK: NDArray[Any]) -> NDArray[Any]:
        """float32 [T, L] of one sequence without padding: a function of the sequence alone, bit by bit.

        For that it is computed by itself and by one thread: the order of floating-point sums depends on both.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            logits_BTL = self(torch.from_numpy(features_TK).unsqueeze(0))
            return logits_BTL[0].log_softmax(-1).numpy()
        finally:
            torch.set_num_threads(threads)


def initialize(model: nn.Module, init_std: float, seed: int) -> None:
    """Set all weights as BERT does: matrices normal, biases 0, LayerNorm 1; each drawn from seed and name alone."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * init_std)
            else:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)


def save_classifier(model: TokenClassifier, path: Path) -> None:
    """Write the weights as safetensors; the same weights give the same bytes."""
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, path)


def load_classifier(config: EncoderConfig, num_labels: int, path: Path) -> TokenClassifier:
    """The classifier with the weights at `path`, in evaluation mode; ValueError if the file holds others."""
    model = TokenClassifier(config, num_labels)
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be used: {' '.join(str(error).split())}") from None
    return model.eval()
