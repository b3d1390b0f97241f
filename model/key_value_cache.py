"""Keys and values of the tokens already read, in blocks of fixed size, so that a token is never read twice.

With one key/value head for all query heads the cache is small: 2 x head size numbers per token and layer.

Shapes: B batch, T tokens of this call, S tokens so far, D head size.
"""

import torch
from torch import Tensor

from model.config import ModelConfig


class LayerCache:
    """The cache of one layer; `append` writes in place, so it is for inference only."""

    def __init__(self, keys_BSD: Tensor, values_BSD: Tensor) -> None:
        self._keys_BSD = keys_BSD
        self._values_BSD = values_BSD
        self.length = 0

    def append(self, k_BTD: Tensor, v_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of T tokens; return those of all S tokens so far."""
        start, self.length = self.length, self.length + k_BTD.shape[1]
        self._keys_BSD[:, start : self.length] = k_BTD
        self._values_BSD[:, start : self.length] = v_BTD
        return self._keys_BSD[:, : self.length], self._values_BSD[:, : self.length]


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
        head_size = config.hidden_size // config.num_heads
        shape = (config.num_layers, 2, batch_size, capacity_tokens, head_size)
        self.layers = [LayerCache(keys, values) for keys, values in torch.zeros(shape, dtype=dtype, device=device)]

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length
