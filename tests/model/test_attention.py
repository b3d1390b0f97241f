"""Each way to attend against the masked one, that against the formula, and rotation against complex numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attention import BACKENDS, attend, choose_backend, rotate, rotation

MASKED = BACKENDS["masked"]


def random_heads(seed, batch_size, num_new, num_seen, num_groups, served, size, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(num_new, num_groups * served), (num_seen, num_groups), (num_seen, num_groups)]
    return [
        torch.randn(batch_size, tokens, heads, size, generator=generator).to(device, dtype) for tokens, heads in shapes
    ]


def random_documents(seed, batch_size, num_tokens):
    """Numbers that rise along a sequence, at other places in each."""
    begins = torch.rand(batch_size, num_tokens, generator=torch.Generator().manual_seed(seed)) < 0.2
    return begins.cumsum(dim=1)


def by_the_formula(q_BTHD, k_BSGD, v_BSGD, window, documents_BT):
    """Softmax(q k / sqrt(D)) v for one token and head after another."""
    batch_size, num_new, num_heads, size = q_BTHD.shape
    num_seen, num_groups = k_BSGD.shape[1:3]
    mixed = torch.empty_like(q_BTHD)
    for row in range(batch_size):
        for token in range(num_new):
            place = num_seen - num_new + token
            seen = [
                other
                for other in range(place + 1)
                if (window is None or place - other < window)
                and (documents_BT is None or documents_BT[row, other] == documents_BT[row, place])
            ]
            for head in range(num_heads):
                group = head // (num_heads // num_groups)
                scores = k_BSGD[row, seen, group] @ q_BTHD[row, token, head] / math.sqrt(size)
                mixed[row, token, head] = scores.softmax(0) @ v_BSGD[row, seen, group]
    return mixed


heads = st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([2, 4, 8]))
windows = st.one_of(st.none(), st.integers(1, 14))


@given(seed=st.integers(0, 999), num_tokens=st.integers(1, 12), heads=heads, window=windows, packed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_masked_way_is_the_formula(seed, num_tokens, heads, window, packed):
    qkv = random_heads(seed, 2, num_tokens, num_tokens, *heads)
    documents = random_documents(seed, 2, num_tokens) if packed else None
    torch.testing.assert_close(MASKED(*qkv, window, documents), by_the_formula(*qkv, window, documents))
    torch.testing.assert_close(
        attend(*qkv, window=window, documents_BT=documents), by_the_formula(*qkv, window, documents)
    )


@given(seed=st.integers(0, 999), num_tokens=st.integers(1, 40), heads=heads)
@settings(max_examples=60, deadline=None)
def test_the_causal_way_is_the_masked_one(seed, num_tokens, heads):
    qkv = random_heads(seed, 2, num_tokens, num_tokens, *heads)
    torch.testing.assert_close(BACKENDS["causal"](*qkv, None, None), MASKED(*qkv, None, None))


@given(seed=st.integers(0, 999), num_new=st.integers(1, 5), num_before=st.integers(0, 20), heads=heads, window=windows)
@settings(max_examples=100, deadline=None)
def test_tokens_that_come_later_are_mixed_as_at_once(seed, num_new, num_before, heads, window):
    """With a cache: one token by the way of its own, several by the mask."""
    q, k, v = random_heads(seed, 3, num_new, num_before + num_new, *heads)
    expected = by_the_formula(q, k, v, window, None)
    torch.testing.assert_close(attend(q, k, v, window=window), expected)
    torch.testing.assert_close(MASKED(q, k, v, window, None), expected)


@pytest.mark.parametrize("way", ["masked", "causal"])
@pytest.mark.parametrize("served", [1, 4])
def test_gradients_of_the_fused_ways_are_those_of_the_formula(way, served):
    window, documents = (5, random_documents(3, 2, 9)) if way == "masked" else (None, None)
    inputs = [part.requires_grad_() for part in random_heads(3, 2, 9, 9, 2, served, 4)]
    slopes = torch.autograd.grad(BACKENDS[way](*inputs, window, documents).square().sum(), inputs)
    expected = torch.autograd.grad(by_the_formula(*inputs, window, documents).square().sum(), inputs)
    for found, wanted in zip(slopes, expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the flash kernel for pieces exists for CUDA alone")
@pytest.mark.parametrize("window", [None, 1, 7, 100])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("groups", "served"), [(1, 4), (2, 3), (4, 1)])
def test_the_varlen_way_is_the_masked_one(window, packed, groups, served):
    q, k, v = random_heads(5, 3, 64, 64, groups, served, 64, torch.bfloat16, "cuda")
    inputs = [part.requires_grad_() for part in (q, k, v)]
    documents = random_documents(5, 3, 64).cuda() if packed else None
    found = BACKENDS["varlen"](*inputs, window, documents)
    exact = [part.detach().float().requires_grad_() for part in inputs]
    expected = MASKED(*exact, window, documents)
    assert (found.float() - expected).abs().max() < 2e-2
    found_slopes = torch.autograd.grad(found.float().square().sum(), inputs)
    for slope, wanted in zip(found_slopes, torch.autograd.grad(expected.square().sum(), exact), strict=True):
        assert (slope.float() - wanted).norm() < 2e-2 * wanted.norm()


@pytest.mark.parametrize(
    ("num_new", "num_seen", "window", "packed", "expected"),
    [
        (8, 8, None, False, "causal"),
        (8, 8, 8, False, "causal"),
        (8, 8, 7, False, "masked"),
        (8, 8, None, True, "masked"),
        (3, 8, None, False, "masked"),
    ],
)
def test_on_a_cpu_only_the_plain_triangle_has_a_kernel_of_its_own(num_new, num_seen, window, packed, expected):
    q, k, _ = random_heads(0, 1, num_new, num_seen, 1, 2, 4)
    documents = random_documents(0, 1, num_new) if packed else None
    assert choose_backend(q, k, window, documents) == expected


def test_rotation_turns_each_pair_by_its_angle():
    """Numbers i and i + D/2 are the parts of a complex number, multiplied by exp(i position / theta^(2i/D))."""
    size, theta = 6, 500.0
    positions = torch.tensor([0, 1, 17, 4000])
    x = torch.randn(1, 4, 2, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cos, sin = rotation(positions, size, theta)
    turned = rotate(x, cos, sin)
    pairs = torch.complex(*x.chunk(2, dim=3))
    speeds = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    expected = pairs * torch.polar(torch.ones(4, 3, dtype=torch.float64), positions.unsqueeze(1) * speeds).unsqueeze(1)
    torch.testing.assert_close(torch.complex(*turned.chunk(2, dim=3)), expected, atol=1e-4, rtol=1e-4)


def test_scores_of_rotated_heads_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(2))

    def score(asking, asked):
        turned = [rotate(x, *rotation(torch.tensor([place]), 8, 1e4)) for x, place in ((q, asking), (k, asked))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(score(9, 4), score(1005, 1000), atol=1e-4, rtol=1e-4)
    assert (score(9, 4) - score(9, 3)).abs() > 1e-3
