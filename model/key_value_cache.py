"""Keys and values of the tokens already read, in blocks of fixed size, so that a token is never read twice.

With few key/value heads for all query heads the cache is small: 2 x G x D numbers per token and layer.

Shapes: B batch, T tokens of this call, S tokens so far, G key/value heads, D head size.
"""

import torch
from torch import Tensor

from model.config import ModelConfig


class LayerCache:
    """The cache of one layer; `append` writes in place, so it is for inference only."""

    def __init__(self, keys_BSGD: Tensor, values_BSGD: Tensor) -> None:
        self._keys_BSGD = keys_BSGD
        self._values_BSGD = values_BSGD
        self.length = 0

    def append(self, k_BTGD: Tensor, v_BTGD: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of T tokens; return those of all S tokens so far."""
        start, self.length = self.length, self.length + k_BTGD.shape[1]
        self._keys_BSGD[:, start : self.length] = k_BTGD
        self._values_BSGD[:, start : self.length] = v_BTGD
        return self._keys_BSGD[:, : self.length], self._values_BSGD[:, : self.length]


class KeyValueCache:
    """Room for `capacity_tokens` tokens of `batch_size` sequences in every layer of a model."""

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        capacity_tokens: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        heads = (config.num_key_value_heads, config.head_size)
        shape = (config.num_layers, 2, batch_size, capacity_tokens, *heads)
        self.layers = [LayerCache(keys, values) for keys, values in torch.zeros(shape, dtype=dtype, device=device)]

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length
