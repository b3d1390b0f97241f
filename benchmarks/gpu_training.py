"""python -m benchmarks.gpu_training: training on one GPU, against Hugging Face's GPTBigCode in the same engine.

Rows: tokens a second, model FLOPs utilization and peak memory of StarCoderBase-1B at 2,048 and 8,192 tokens in bf16;
attention over 16,384 tokens with a window of 4,096 against all of them; and whether every way of computing attention
and loss agrees with the plain one on this device. Ours and the peer are trained by DeepSpeed with one configuration
(ZeRO-1, fp32 accumulation, fused AdamW, 65,536 tokens a step); where DeepSpeed cannot be had, by the loop of
`_PlainSteps` on the same modules, and the table says so. Utilization counts matrix products as `model/model_size.py`
(causal), against the dense bf16 peak of the GPU's data sheet. Steps are timed to the end of the device's work; medians.
"""

import importlib
import inspect
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.attention import BACKENDS, attend
from model.config import FillInMiddleConfig, ModelConfig, ParallelLayout, PretrainConfig
from model.device_peaks import peak_of
from model.loss import cross_entropy
from model.model_size import forward_flops_per_token, parameter_count
from model.tensor_parallel import ALONE
from model.transformer import CodeModel, initial_weight

VOCABULARY = 49_152
TOKENS_PER_STEP = 65_536
WARM_STEPS, TIMED_STEPS = 3, 7


def starcoderbase_1b(context: int) -> ModelConfig:
    return ModelConfig(
        family="gpt_bigcode",
        num_layers=24,
        hidden_size=2048,
        num_heads=16,
        num_key_value_heads=1,
        feed_forward_size=8192,
        context_length_tokens=context,
        rope_theta=None,
        attention_window_tokens=None,
        tied_head=True,
        layer_norm_epsilon=1e-5,
        init_std=0.02209,
    )


def training(micro_batch_size: int, context: int, *, compiled: bool) -> PretrainConfig:
    return PretrainConfig(
        recipe=1,
        layout=ParallelLayout(data=1, tensor=1, pipeline=1, sequence_parallel=False, zero_stage=1),
        threads_per_process=4,
        precision="bf16",
        document_attention="across",
        activation_checkpointing="none",
        compile_blocks=compiled,
        loss_chunk_tokens=2048,
        z_loss_weight=0.0,
        micro_batch_size=micro_batch_size,
        accumulation_steps=TOKENS_PER_STEP // (micro_batch_size * context),
        num_steps=1000,
        learning_rate=1e-4,
        min_learning_rate=1e-5,
        warmup_steps=0,
        weight_decay=0.1,
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        gradient_clip_norm=1.0,
        blend={},
        fill_in_middle=FillInMiddleConfig.model_validate(_no_fill_in_middle()),
        validate_every_steps=1000,
        validation_batches=1,
        checkpoint_every_steps=1000,
        seed=1,
        start_from=None,
    )


def _no_fill_in_middle() -> dict[str, Any]:
    zero = {"rate": 0.0, "spm_rate": 0.0}
    return zero | {name: None for name in FillInMiddleConfig.model_fields if name not in zero}


class _PeerLoss(nn.Module):
    """Hugging Face's model with its own loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        logits = self.model(input_ids=tokens_BT, use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets_BT.flatten())


class _OurLoss(nn.Module):
    def __init__(self, network: CodeModel, chunk_tokens: int, compiled: bool) -> None:
        super().__init__()
        self.network, self.chunk_tokens, self.compiled = network, chunk_tokens, compiled

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return self.network.loss(tokens_BT, targets_BT, chunk_tokens=self.chunk_tokens, compiled=self.compiled)


class _PlainSteps:
    """bf16 weights beside fp32 ones, which take the step: what DeepSpeed's engine does, written out."""

    def __init__(self, module: nn.Module, config: PretrainConfig) -> None:
        self.module = module.to("cuda", torch.bfloat16)
        self.pairs = [(p, p.detach().float().requires_grad_()) for p in self.module.parameters()]
        self.config = config
        self.adam = torch.optim.AdamW([master for _, master in self.pairs], lr=1e-4, betas=(0.9, 0.95), fused=True)

    def step(self, batches: list[tuple[Tensor, Tensor]]) -> float:
        losses: list[Tensor] = []
        for tokens, targets in batches:
            loss = self.module(tokens, targets)
            (loss / len(batches)).backward()
            losses.append(loss.detach())
            for weight, master in self.pairs:
                gradient = weight.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                weight.grad = None
        nn.utils.clip_grad_norm_([master for _, master in self.pairs], self.config.gradient_clip_norm)
        self.adam.step()
        self.adam.zero_grad()
        for weight, master in self.pairs:
            weight.data.copy_(master.data)
        return float(torch.stack(losses).mean())


class _DeepSpeedSteps:
    def __init__(self, module: nn.Module, config: PretrainConfig) -> None:
        import deepspeed  # noqa: PLC0415

        from model.deepspeed_config import deepspeed_config  # noqa: PLC0415

        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
        self.engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=deepspeed_config(config))

    def step(self, batches: list[tuple[Tensor, Tensor]]) -> float:
        losses: list[Tensor] = []
        for tokens, targets in batches:
            loss = self.engine(tokens, targets)
            losses.append(loss.detach())
            self.engine.backward(loss)
            self.engine.step()
        return float(torch.stack(losses).mean())


def measure(
    name: str, build: Callable[[], nn.Module], config: PretrainConfig, context: int, steps: Any
) -> dict[str, Any]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    taken: list[float] = []
    trainer = steps(build(), config)
    generator = torch.Generator().manual_seed(7)
    losses: list[float] = []
    for number in range(WARM_STEPS + TIMED_STEPS):
        shape = (config.accumulation_steps, config.micro_batch_size, context + 1)
        ids = torch.randint(VOCABULARY, shape, generator=generator).cuda()
        torch.cuda.synchronize()
        started = time.perf_counter()
        losses.append(trainer.step([(part[:, :-1], part[:, 1:]) for part in ids]))
        torch.cuda.synchronize()
        if number >= WARM_STEPS:
            taken.append(time.perf_counter() - started)
    if os.environ.get("STARLOOM_PROFILE"):
        _profile(trainer, [(part[:, :-1], part[:, 1:]) for part in ids])
    seconds = statistics.median(taken)
    model = starcoderbase_1b(8192)
    flops = 3 * forward_flops_per_token(model, VOCABULARY, context, "causal")
    tokens_per_second = TOKENS_PER_STEP / seconds
    row = {
        "what": name,
        "context": context,
        "micro_batch": config.micro_batch_size,
        "tokens_per_second": round(tokens_per_second),
        "mfu_causal": round(tokens_per_second * flops / _peak(), 4),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "seconds": [round(value, 4) for value in taken],
        "losses": [round(losses[0], 4), round(losses[-1], 4)],
    }
    print(json.dumps(row), flush=True)
    return row


def _profile(trainer: Any, batches: list[tuple[Tensor, Tensor]]) -> None:
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        trainer.step(batches)
        torch.cuda.synchronize()
    print(profile.key_averages().table(sort_by="cuda_time_total", row_limit=22, max_name_column_width=70), flush=True)


def ours(context: int, compiled: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.device("meta"):
            network = CodeModel(starcoderbase_1b(8192), VOCABULARY)
        network = network.to_empty(device="cuda")
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(_first(name, parameter))
        if compiled:
            for block in network.blocks:
                block.compile()
        return _OurLoss(network, 4096, compiled)

    return build


def _first(name: str, parameter: Tensor) -> Tensor:
    """Like `initial_weight`, drawn on the GPU: what a weight is makes no step slower."""
    if name.endswith(".bias") or "_norm" in name:
        return initial_weight(name, parameter.shape, starcoderbase_1b(8192), 1).to(parameter.device)
    return torch.randn_like(parameter) * 0.02


def peer(context: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM  # noqa: PLC0415

        config = GPTBigCodeConfig(
            vocab_size=VOCABULARY,
            n_positions=8192,
            n_embd=2048,
            n_layer=24,
            n_head=16,
            n_inner=8192,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            multi_query=True,
            attn_implementation="sdpa",
        )
        with torch.device("cuda"):
            return _PeerLoss(GPTBigCodeForCausalLM(config).train())

    return build


def agreement() -> list[dict[str, Any]]:
    """Each way of computing, on this device, against the plain one in float32; largest relative difference."""
    rows: list[dict[str, Any]] = []
    generator = torch.Generator("cuda").manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device="cuda")  # noqa: E731
    for window in (None, 100):
        for documents in (None, (torch.arange(512, device="cuda") // 130).expand(2, -1)):
            q, k, v = draw(2, 512, 8, 64), draw(2, 512, 2, 64), draw(2, 512, 2, 64)
            reference = BACKENDS["masked"](q, k, v, window, documents)
            mixed = attend(*(heads.bfloat16() for heads in (q, k, v)), window=window, documents_BT=documents).float()
            rows.append(
                {
                    "check": f"attention in bf16, window {window}, documents {documents is not None}",
                    "relative": float((mixed - reference).norm() / reference.norm()),
                }
            )
    x, head = draw(4096, 256).requires_grad_(), draw(5000, 256).mul(0.05).requires_grad_()
    targets = torch.randint(5000, (4096,), device="cuda")
    plain = F.cross_entropy(x @ head.T, targets)
    wanted = torch.autograd.grad(plain, (x, head))
    fused = cross_entropy(x, head, targets, ALONE, chunk_tokens=700)
    found = torch.autograd.grad(fused, (x, head))
    for name, one, other in (("loss", plain, fused), *zip(("d x", "d head"), wanted, found, strict=True)):
        rows.append({"check": f"chunked loss in fp32, {name}", "relative": float((one - other).norm() / one.norm())})
    for row in rows:
        print(json.dumps(row), flush=True)
    return rows


def windows() -> list[dict[str, Any]]:
    """Attention of StarCoder2-3B (24 heads, 2 key/value heads of 128) over 16,384 tokens, forward and backward."""
    rows: list[dict[str, Any]] = []
    q = torch.randn(1, 16_384, 24, 128, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    k, v = (torch.randn(1, 16_384, 2, 128, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
    slope = torch.randn(1, 16_384, 24, 128, device="cuda", dtype=torch.bfloat16)
    for name, window in (("all tokens", None), ("a window of 4,096", 4096)):
        taken: list[float] = []
        for _ in range(25):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            attend(q, k, v, window=window).backward(slope)
            end.record()
            torch.cuda.synchronize()
            taken.append(start.elapsed_time(end))
        rows.append({"what": f"attention over 16,384 tokens, {name}", "ms": round(statistics.median(taken[5:]), 3)})
        print(json.dumps(rows[-1]), flush=True)
    return rows


@contextmanager
def _one_rank() -> Iterator[Any]:
    """The steps of DeepSpeed if it is there, else our own."""
    try:
        import deepspeed  # noqa: PLC0415
        import deepspeed.ops as operators  # noqa: PLC0415
    except ImportError as error:
        print(json.dumps({"note": f"without DeepSpeed ({error}): the plain loop on the same modules"}), flush=True)
        yield _PlainSteps
        return
    operators.__compatible_ops__ = {}
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    deepspeed.init_distributed("nccl", verbose=False)
    yield _DeepSpeedSteps
    torch.distributed.destroy_process_group()


def _old_varlen() -> None:
    """Before 2.13 torch's kernel knew no groups of heads: there the keys and values are repeated, and it is told."""
    kernels: Any = importlib.import_module("torch.nn.attention.varlen")
    if "enable_gqa" in inspect.signature(kernels.varlen_attn).parameters:
        return
    print(json.dumps({"note": f"varlen_attn of torch {torch.__version__} has no groups: heads repeated"}), flush=True)
    kernel = kernels.varlen_attn

    def repeated(q: Tensor, k: Tensor, v: Tensor, *rest: Any, enable_gqa: bool, **named: Any) -> Tensor:
        served = q.shape[1] // k.shape[1] if enable_gqa else 1
        return kernel(q, k.repeat_interleave(served, 1), v.repeat_interleave(served, 1), *rest, **named)

    kernels.varlen_attn = repeated


def _peak() -> float:
    peak = peak_of(torch.cuda.get_device_name())
    return peak.bf16 if peak else float("nan")


def main(out: Path | None) -> None:
    if not torch.cuda.is_available():
        sys.exit("error: there is no GPU; this benchmark needs one")
    versions = {name: version(name) for name in ("torch", "deepspeed", "transformers") if find_spec(name)}
    print(json.dumps({"gpu": torch.cuda.get_device_name()} | versions), flush=True)
    print(json.dumps({"parameters": parameter_count(starcoderbase_1b(8192), VOCABULARY)}), flush=True)
    _old_varlen()
    told: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "agreement": agreement()}
    try:
        told["windows"] = windows()
    except (TypeError, ImportError, RuntimeError) as error:
        print(json.dumps({"windows": f"not to be had here: {error}"}), flush=True)

    def cudnn() -> Any:
        return sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION], set_priority=True)

    rows: list[dict[str, Any]] = []
    with _one_rank() as steps:
        for context, micro_batch in ((2048, 8), (8192, 2)):
            variants: list[tuple[str, Any, bool, Any]] = [
                ("ours, cuDNN attention, compiled blocks", ours(context, True), True, cudnn),
                ("ours, flash attention", ours(context, False), False, nullcontext),
                ("Hugging Face GPTBigCode, sdpa", peer(context), False, nullcontext),
            ]
            for name, build, compiled, kernels in variants:
                with kernels():
                    try:
                        rows.append(
                            measure(name, build, training(micro_batch, context, compiled=compiled), context, steps)
                        )
                    except Exception as error:  # noqa: BLE001 - one row that fails must not cost the others
                        print(json.dumps({"what": name, "context": context, "failed": str(error)[:500]}), flush=True)
                if out is not None:
                    out.write_text(json.dumps(told | {"rows": rows}, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
