"""Attention: each token mixes the values of tokens before it, as far as it may look.

One function, three ways to compute it, all held to the first by tests: `masked` writes down who sees whom, `causal` is
the fused kernel that PyTorch has for a plain triangle, `varlen` the fused kernel for windows and documents on a GPU.

Shapes, as suffixes of tensor names:
    B  sequences              H  query heads          D  head size
    T  tokens of this call    G  key/value heads      S  tokens seen so far, the T last of them are those of this call
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Backend = Literal["masked", "causal", "varlen"]


def attend(
    q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, *, window: int | None = None, documents_BT: Tensor | None = None
) -> Tensor:
    """Causal attention, mixed_BTHD: each key/value head serves H / G neighbouring query heads.

    A token sees the last `window` tokens, itself one of them, and of these the ones with its own number in
    `documents_BT`, where numbers rise along a sequence; None is no limit. Documents need T = S.
    """
    if q_BTHD.shape[1] == 1 and documents_BT is None:
        return _from_one_token(q_BTHD, k_BSGD, v_BSGD, window)
    return BACKENDS[choose_backend(q_BTHD, k_BSGD, window, documents_BT)](q_BTHD, k_BSGD, v_BSGD, window, documents_BT)


def choose_backend(q_BTHD: Tensor, k_BSGD: Tensor, window: int | None, documents_BT: Tensor | None) -> Backend:
    """The fastest way that computes what is asked, on the device where the tensors are."""
    num_new, num_seen = q_BTHD.shape[1], k_BSGD.shape[1]
    if num_new != num_seen:
        return "masked"
    if documents_BT is None and (window is None or window >= num_seen):
        return "causal"
    is_half = q_BTHD.dtype in (torch.bfloat16, torch.float16)
    return "varlen" if q_BTHD.is_cuda and is_half else "masked"


def _masked(q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, window: int | None, documents_BT: Tensor | None) -> Tensor:
    num_new, num_seen = q_BTHD.shape[1], k_BSGD.shape[1]
    asking_T1 = torch.arange(num_seen - num_new, num_seen, device=q_BTHD.device).unsqueeze(1)
    seen_S = torch.arange(num_seen, device=q_BTHD.device)
    visible = seen_S <= asking_T1
    if window is not None:
        visible &= seen_S > asking_T1 - window
    if documents_BT is not None:
        visible = visible & (documents_BT.unsqueeze(1) == documents_BT.unsqueeze(2)).unsqueeze(1)
    return _fused(q_BTHD, k_BSGD, v_BSGD, attn_mask=visible)


def _causal(
    q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, _window: int | None, _documents_BT: Tensor | None
) -> Tensor:
    return _fused(q_BTHD, k_BSGD, v_BSGD, is_causal=True)


def _fused(
    q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    q_BHTD, k_BGSD, v_BGSD = (heads.transpose(1, 2) for heads in (q_BTHD, k_BSGD, v_BSGD))
    mixed_BHTD = F.scaled_dot_product_attention(
        q_BHTD,
        k_BGSD,
        v_BGSD,
        attn_mask=attn_mask,
        is_causal=is_causal,
        enable_gqa=q_BHTD.shape[1] != k_BGSD.shape[1],
    )
    return mixed_BHTD.transpose(1, 2)


def _varlen(q_BTHD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, window: int | None, documents_BT: Tensor | None) -> Tensor:
    """All sequences as one row of pieces: a piece is a document, or a whole sequence."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - loads the flash kernels

    num_sequences, num_tokens = q_BTHD.shape[:2]
    begins_BT = torch.zeros(num_sequences, num_tokens, dtype=torch.bool, device=q_BTHD.device)
    begins_BT[:, 0] = True
    if documents_BT is not None:
        begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    borders = begins_BT.flatten().nonzero().squeeze(1).to(torch.int32)
    borders = F.pad(borders, (0, 1), value=num_sequences * num_tokens)
    q, k, v = (heads.flatten(0, 1) for heads in (q_BTHD, k_BSGD, v_BSGD))
    mixed: Any = varlen_attn(
        q,
        k,
        v,
        borders,
        borders,
        num_tokens,
        num_tokens,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return mixed.unflatten(0, (num_sequences, num_tokens))


BACKENDS: dict[Backend, Callable[[Tensor, Tensor, Tensor, int | None, Tensor | None], Tensor]] = {
    "masked": _masked,
    "causal": _causal,
    "varlen": _varlen,
}


def _from_one_token(q_B1HD: Tensor, k_BSGD: Tensor, v_BSGD: Tensor, window: int | None) -> Tensor:
    """The last token looks at all it may: query heads of a group stand where queries stand, one product for a group."""
    if window is not None:
        k_BSGD, v_BSGD = k_BSGD[:, -window:], v_BSGD[:, -window:]
    num_groups = k_BSGD.shape[2]
    q_BGRD = q_B1HD.squeeze(1).unflatten(1, (num_groups, -1))
    mixed_BGRD = F.scaled_dot_product_attention(q_BGRD, k_BSGD.transpose(1, 2), v_BSGD.transpose(1, 2))
    return mixed_BGRD.flatten(1, 2).unsqueeze(1)


def rotation(positions_T: Tensor, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos_TD and sin_TD of the rotary angles in float32 (RoFormer, arXiv 2104.09864, section 3.2.2).

    Numbers i and i + D/2 of a head are a pair, as in Hugging Face's layout of Starcoder2.
    """
    exponents = torch.arange(0, head_size, 2, device=positions_T.device, dtype=torch.int64).float() / head_size
    angles = positions_T.float().unsqueeze(1) * (1.0 / theta**exponents)
    angles_TD = torch.cat([angles, angles], dim=1)
    return angles_TD.cos(), angles_TD.sin()


def rotate(x_BTHD: Tensor, cos_TD: Tensor, sin_TD: Tensor) -> Tensor:
    """Turn each pair of numbers of each head by the angle of its token's position."""
    cos, sin = (part.to(x_BTHD.dtype).unsqueeze(1) for part in (cos_TD, sin_TD))
    first, second = x_BTHD.chunk(2, dim=3)
    return x_BTHD * cos + torch.cat([-second, first], dim=3) * sin
