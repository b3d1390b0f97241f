"""The chunked loss against PyTorch's own, in values and gradients, for any size of chunk."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from model.loss import cross_entropy
from model.special_tokens import IGNORED_TARGET
from model.tensor_parallel import ALONE

HIDDEN, VOCAB_SIZE = 12, 50


def random_inputs(seed, num_tokens, ignored=0.2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tokens, HIDDEN, generator=generator, dtype=torch.float64).to(dtype)
    head = torch.randn(VOCAB_SIZE, HIDDEN, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(VOCAB_SIZE, (num_tokens,), generator=generator)
    targets[torch.rand(num_tokens, generator=generator) < ignored] = IGNORED_TARGET
    return x.requires_grad_(), head.requires_grad_(), targets


def plain(x, head, targets, z_loss_weight=0.0):
    logits = x @ head.T
    loss = F.cross_entropy(logits, targets, ignore_index=IGNORED_TARGET)
    counting = targets != IGNORED_TARGET
    return loss + z_loss_weight * logits[counting].logsumexp(dim=1).square().mean()


def chunked(x, head, targets, chunk_tokens=7, **settings):
    return cross_entropy(x, head, targets, ALONE, chunk_tokens=chunk_tokens, **settings)


@given(
    seed=st.integers(0, 999),
    num_tokens=st.integers(1, 40),
    chunk_tokens=st.integers(1, 50),
    z_loss_weight=st.sampled_from([0.0, 1e-4, 0.3]),
    upstream=st.sampled_from([1.0, -2.5]),
)
@settings(max_examples=80, deadline=None)
def test_value_and_gradients_are_those_of_pytorch(seed, num_tokens, chunk_tokens, z_loss_weight, upstream):
    x, head, targets = random_inputs(seed, num_tokens)
    targets[0] = 3
    loss = chunked(x, head, targets, chunk_tokens, z_loss_weight=z_loss_weight)
    expected = plain(x, head, targets, z_loss_weight)
    # The sums are float32 inside, whatever comes in.
    torch.testing.assert_close(loss.double(), expected, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(upstream * loss, (x, head))
    wanted = torch.autograd.grad(upstream * expected, (x, head))
    for slope, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(slope, right, atol=1e-5, rtol=1e-5)


def test_if_no_target_counts_the_loss_is_nothing_and_so_are_its_gradients():
    x, head, targets = random_inputs(1, 9, ignored=1.1)
    assert (targets == IGNORED_TARGET).all()
    loss = chunked(x, head, targets, z_loss_weight=0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert not x.grad.any()
    assert not head.grad.any()


def test_logits_far_from_zero_do_not_overflow():
    x, head, targets = random_inputs(2, 9, dtype=torch.float32)
    loss = chunked(x * 1e4, head, targets)
    torch.testing.assert_close(loss, plain(x.double() * 1e4, head.double(), targets).float())
    loss.backward()
    assert x.grad.isfinite().all()


def test_bfloat16_comes_in_and_the_loss_is_float32():
    x, head, targets = random_inputs(3, 30, dtype=torch.bfloat16)
    loss = chunked(x, head, targets)
    assert loss.dtype == torch.float32
    exact_x, exact_head = (part.detach().double().requires_grad_() for part in (x, head))
    expected = plain(exact_x, exact_head, targets)
    assert abs(loss.item() - expected.item()) < 0.01 * expected.item()
    loss.backward()
    expected.backward()
    for part, exact in ((x, exact_x), (head, exact_head)):
        assert part.grad.dtype == torch.bfloat16
        assert (part.grad.double() - exact.grad).norm() < 0.02 * exact.grad.norm()


def test_without_gradients_none_is_computed():
    x, head, targets = random_inputs(4, 20)
    with torch.no_grad():
        loss = chunked(x, head, targets)
    assert not loss.requires_grad
    assert loss.item() == chunked(x, head, targets).item()


def test_no_more_logits_than_a_chunk_are_in_memory():
    """Counted where they arise: the product with the head."""
    sizes = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            made = super().__torch_function__(function, types, args, kwargs or {})
            if isinstance(made, torch.Tensor) and made.ndim == 2 and made.shape[1] == VOCAB_SIZE:
                sizes.append(made.shape[0])
            return made

    x, head, targets = random_inputs(5, 40)
    chunked(x.detach().as_subclass(Watched), head.detach(), targets, chunk_tokens=6)
    assert max(sizes) == 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("z_loss_weight", [0.0, 0.1])
def test_the_compiled_loss_is_the_same(z_loss_weight):
    x, head, targets = random_inputs(6, 28, dtype=torch.float32)
    plainly = chunked(x, head, targets, z_loss_weight=z_loss_weight)
    compiled = chunked(x, head, targets, z_loss_weight=z_loss_weight, compiled=True)
    torch.testing.assert_close(compiled, plainly)
    for found, wanted in zip(
        torch.autograd.grad(compiled, (x, head)), torch.autograd.grad(plainly, (x, head)), strict=True
    ):
        torch.testing.assert_close(found, wanted)
