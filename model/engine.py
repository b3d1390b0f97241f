"""The one file that speaks to DeepSpeed: a model in, optimizer steps and the state of this rank out.

The state is handed out as plain named tensors and taken back the same way, because DeepSpeed's own checkpoints are
pickles. The loop knows neither ranks nor slices, so that other layouts than data parallelism can come behind the same
methods. Every public method is collective: all ranks call it in the same order.
"""

import importlib
import os
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.batches import Batch
from model.config import PretrainConfig
from model.deepspeed_config import deepspeed_config


@contextmanager
def _without_mlflow() -> Generator[None]:
    """DeepSpeed's autotuner imports MLflow where it finds it: 2 seconds on every rank for what is never used."""
    modules: dict[str, Any] = sys.modules
    already_there = modules.get("mlflow")
    modules["mlflow"] = None
    try:
        yield
    finally:
        del modules["mlflow"]
        if already_there is not None:
            modules["mlflow"] = already_there


with _without_mlflow():
    import deepspeed
    import deepspeed.comm as dist
    from deepspeed.accelerator import get_accelerator
    from deepspeed.utils import safe_get_full_fp32_param

_ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class StepOutcome:
    """One optimizer step, equal on every rank. A step that was not finite left the weights as they were."""

    loss: float
    """Mean nats per token over the global batch, before the step."""
    gradient_norm: float
    """Euclidean norm over all parameters, before clipping; infinite if any gradient was not finite."""


class Engine:
    """A model under training, this rank's share of it."""

    def __init__(self, model: nn.Module, config: PretrainConfig, local_rank: int) -> None:
        """Join the other ranks (RANK, WORLD_SIZE, MASTER_ADDR, ... in the environment) and wrap `model`.

        `model` has a method `loss(tokens_BT, targets_BT)`; rank 0's weights are given to all. The rank computes on
        GPU `local_rank` if there are GPUs. RuntimeError if the ranks cannot meet.
        """
        accelerator: Any = get_accelerator()
        on_gpu = accelerator.device_name() == "cuda"
        self._device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(self._device)
        _avoid_slow_imports()
        backend = "nccl" if on_gpu else "gloo"
        _meet_on_this_machine(backend)
        deepspeed.init_distributed(backend, verbose=False)
        self._model = model
        engine, *_ = deepspeed.initialize(
            model=_LossModule(model), optimizer=_adamw(model, config), config=deepspeed_config(config)
        )
        self._engine: Any = engine

    @property
    def rank(self) -> int:
        """This process among all, from 0."""
        return int(dist.get_rank())

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return int(dist.get_world_size())

    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> StepOutcome:
        """One optimizer step over this rank's `accumulation_steps` micro-batches and those of all other ranks."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        losses: list[Tensor] = []
        for batch in micro_batches:
            loss = self._loss(batch)
            losses.append(loss.detach())
            self._engine.backward(loss)
            self._engine.step()
        return StepOutcome(self._mean_over_ranks(losses), float(self._engine.get_global_grad_norm()))

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> float:
        """Mean nats per token over the batches of all ranks; each rank brings equally many."""
        self._engine.eval()
        losses = [self._loss(batch) for batch in batches]
        self._engine.train()
        return self._mean_over_ranks(losses)

    def export_state(self) -> dict[str, Tensor]:
        """This rank's slice of fp32 weights and Adam moments: all that a continuation needs. Not copied."""
        state: dict[str, Tensor] = {}
        for number, weights in enumerate(self._slices()):
            state[f"group{number}.weights"] = weights.detach()
            for name in _ADAM_STATE:
                state[f"group{number}.{name}"] = self._adam.state[weights][name]
        return state

    def import_state(self, state: dict[str, Tensor]) -> None:
        """Go on from what `export_state` gave on the same rank of equally many; call it before the first step.

        ValueError if names or sizes do not fit this model, with nothing changed.
        """
        fitting = {
            f"group{number}.{name}": weights.shape
            for number, weights in enumerate(self._slices())
            for name in ("weights", "exp_avg", "exp_avg_sq")
        } | {f"group{number}.step": torch.Size() for number in range(len(self._slices()))}
        given = {name: tensor.shape for name, tensor in state.items()}
        if given != fitting:
            raise ValueError(f"state with {_sizes(given)} does not fit a model with {_sizes(fitting)}")
        for number, weights in enumerate(self._slices()):
            weights.data.copy_(state[f"group{number}.weights"])
            self._adam.state[weights] = {
                name: state[f"group{number}.{name}"].to(weights.device, copy=True) for name in _ADAM_STATE
            }
        self._engine.optimizer.update_lp_params()  # gathers the working weights of all ranks from the fp32 slices

    def full_weights(self) -> dict[str, Tensor]:
        """The whole model's fp32 master weights by parameter name, on the CPU; tied weights once."""
        gather: Any = safe_get_full_fp32_param
        return {name: gather(parameter).cpu().contiguous() for name, parameter in self._model.named_parameters()}

    def exchange(self, payload: bytes) -> list[bytes]:
        """Every rank's payload, in the order of ranks; all must be equally long. Also a barrier."""
        mine = torch.tensor(list(payload), dtype=torch.uint8, device=self._device)
        gathered = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(gathered, mine)
        return [bytes(tensor.tolist()) for tensor in gathered]

    def close(self) -> None:
        """Leave the group of processes, once all have arrived here."""
        dist.barrier()
        dist.destroy_process_group()

    @property
    def _adam(self) -> Any:
        # DeepSpeed's ZeRO optimizer wraps ours; after wrapping, each group holds one flat slice.
        return self._engine.optimizer.optimizer

    def _slices(self) -> list[Tensor]:
        return [group["params"][0] for group in self._adam.param_groups]

    def _loss(self, batch: Batch) -> Tensor:
        tokens_BT, targets_BT = (torch.from_numpy(ids).to(self._device) for ids in batch)
        return self._engine(tokens_BT, targets_BT)

    def _mean_over_ranks(self, losses: Sequence[Tensor]) -> float:
        total = torch.stack([loss.double() for loss in losses]).mean()
        dist.all_reduce(total)
        return float(total) / self.world_size


class _LossModule(nn.Module):
    """DeepSpeed calls `forward` and differentiates what it returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return self.model.loss(tokens_BT, targets_BT)


def _meet_on_this_machine(backend: str) -> None:
    """Form the group of processes through a store that only this machine can reach, if that is where all ranks are.

    torch's own would listen on every interface, open to anyone. DeepSpeed finds the group formed and uses it.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if host != "127.0.0.1" or torch.distributed.is_initialized():
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    listening = socket.create_server((host, port)).detach() if rank == 0 else None
    store = torch.distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage] - documented under this name
        host, port, world_size, is_master=rank == 0, wait_for_workers=False, master_listen_fd=listening
    )
    torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def _adamw(model: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    """Weight decay pulls on matrices only: biases and norms have a scale of their own (GPT-2 and nanoGPT practice)."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        fused=True,
    )


def _avoid_slow_imports() -> None:
    """Keep DeepSpeed 0.19.8 from loading or compiling what we never use; it does so without asking.

    `initialize` imports the Muon optimizer, which decorates with `torch.compile` and so loads the whole compiler
    (1.6 s on every rank): import it before, with a decorator that does nothing. `init_distributed` asks which C++
    extensions could be built, which runs a compiler (0.5 s), and then builds a shared memory collective of inference
    (24 s at first start): answer that there are none.
    """
    compile_function: Any = torch.compile
    torch.compile = lambda function=None, **_: function if function is not None else lambda inner: inner
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.original_muon")
    finally:
        torch.compile = compile_function
    operators: Any = importlib.import_module("deepspeed.ops")
    operators.__compatible_ops__ = {}


def _sizes(shapes: dict[str, torch.Size]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in sorted(shapes.items()))
