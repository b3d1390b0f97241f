"""DeepSpeed behind one set of methods: parameters in, optimizer steps and the state of this rank out.

Two of its engines stand behind one set of methods: the plain one, where a rank holds all layers, and the pipeline,
where it holds those of its stage. The state is handed out as fragments of named parameters and taken back the same
way, as DeepSpeed's own checkpoints are pickles. Every public method is collective: all ranks call it in the same order.
"""

import importlib
import logging
import resource
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.batches import Batch
from model.config import ModelConfig, PretrainConfig
from model.deepspeed_config import deepspeed_config
from model.pipeline import PipelineBlock, layers_of, loss_of
from model.process_grid import device_of, meet, tensor_group
from model.rank_places import place_of
from model.stragglers import ForwardClock
from model.tensor_parallel import TensorGroup, shard_dimension
from model.training_state import KINDS, Fragment, Place, RankState, WholeState
from model.transformer import Block, CodeModel, document_numbers, initial_weight


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
    from deepspeed.runtime.pipe.module import LayerSpec, PipelineModule, TiedLayerSpec
    from deepspeed.runtime.pipe.topology import PipelineParallelGrid, PipeModelDataParallelTopology


@dataclass(frozen=True)
class StepOutcome:
    """One optimizer step, equal on every rank. A step that was not finite left the weights as they were."""

    loss: float
    """Mean nats per token over the global batch, before the step."""
    gradient_norm: float
    """Euclidean norm over all parameters, before clipping; infinite if any gradient was not finite."""


class Engine:
    """A model under training, this rank's share of it."""

    def __init__(self, model: ModelConfig, vocab_size: int, config: PretrainConfig, local_rank: int) -> None:
        """Join the other ranks (RANK, WORLD_SIZE, MASTER_ADDR, ... in the environment) and build this rank's share.

        Weights are those of `config.seed`, in every layout the same. The rank computes on GPU `local_rank` if there
        are GPUs. The layout must fit the model (`config.require_fitting`). RuntimeError if the ranks cannot meet.
        """
        accelerator: Any = get_accelerator()
        on_gpu = accelerator.device_name() == "cuda"
        self.device = device_of(local_rank, on_gpu)
        """What this rank computes on."""
        self._config = config
        _avoid_slow_imports()
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        meet("nccl" if on_gpu else "gloo")
        deepspeed.init_distributed("nccl" if on_gpu else "gloo", verbose=False)
        self._place = place_of(self.rank, config.layout)
        self._group = tensor_group(config.layout)
        self._names: dict[str, nn.Parameter] = {}
        build = self._build_plain if config.layout.pipeline == 1 else self._build_pipeline
        module, grid = build(model, vocab_size)
        for block in module.modules():
            if isinstance(block, Block):
                block.is_recomputed = config.activation_checkpointing == "blocks"
                if config.compile_blocks:
                    block.compile()
        _set_first_weights(self._names, model, self._group, config.seed)
        self._clock = ForwardClock(module, self.device)
        engine, *_ = deepspeed.initialize(
            model=module,
            optimizer=_adamw(self._names, config),
            config=deepspeed_config(config),
            mpu=grid,
        )
        self._engine: Any = engine

    def _build_plain(self, model: ModelConfig, vocab_size: int) -> tuple[nn.Module, Any]:
        network = CodeModel(model, vocab_size, self._group)
        self._names = dict(network.named_parameters())
        layout = self._config.layout
        if layout.tensor == 1:
            return _LossModule(network, self._config), None
        return _LossModule(network, self._config), PipelineParallelGrid(_topology(self._config))

    def _build_pipeline(self, model: ModelConfig, vocab_size: int) -> tuple[nn.Module, Any]:
        within = self._config.document_attention == "within"
        row = layers_of(model, vocab_size, self._group, within)
        specs: list[Any] = [
            TiedLayerSpec(layer.name, layer.kind, *layer.arguments, forward_fn=layer.as_head)
            if layer.is_shared
            else LayerSpec(layer.kind, *layer.arguments)
            for layer in row
        ]
        module: Any = PipelineModule(
            specs,
            topology=_topology(self._config),
            loss_fn=loss_of(self._config, self._group),
            partition_method=f"type:{PipelineBlock.__name__}",
        )
        for name, parameter in module.named_parameters():
            kept, _, rest = name.partition(".")
            if kept == "tied_modules":
                self._names[rest] = parameter
            else:
                self._names[f"{row[int(kept)].name}.{rest}"] = parameter
        return module, None

    @property
    def rank(self) -> int:
        """This process among all, from 0."""
        return int(dist.get_rank())

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return int(dist.get_world_size())

    @property
    def data_rank(self) -> int:
        """Which replica this rank is part of: all ranks of a replica read the same samples."""
        return self._place.data

    @property
    def reads_batches(self) -> bool:
        """Whether this rank looks at tokens or targets: the first and the last stage do."""
        return self._place.stage in (0, self._config.layout.pipeline - 1)

    def train_step(self, micro_batches: Sequence[Batch], learning_rate: float) -> StepOutcome:
        """One optimizer step over the replica's `accumulation_steps` micro-batches and those of all other replicas."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        step = self._step_through_pipeline if self._is_pipeline else self._step_alone
        loss = step(micro_batches)
        return StepOutcome(loss, float(self._engine.get_global_grad_norm()))

    def _step_alone(self, micro_batches: Sequence[Batch]) -> float:
        losses: list[Tensor] = []
        for batch in micro_batches:
            loss = self._engine(*self._tensors(batch))
            losses.append(loss.detach())
            self._engine.backward(loss)
            self._engine.step()
        return self._mean_over_ranks(losses)

    def _step_through_pipeline(self, micro_batches: Sequence[Batch]) -> float:
        self._engine.reset_activation_shape()
        return float(self._engine.train_batch(iter([self._tensors(batch) for batch in micro_batches])))

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> float:
        """Mean nats per token over the batches of all replicas; each replica brings equally many."""
        if self._is_pipeline:
            self._engine.reset_activation_shape()
            batches_left = iter([self._tensors(batch) for batch in batches])
            loss = float(self._engine.eval_batch(batches_left, num_micro_batches=len(batches)))
            self._engine.train()
            return loss
        self._engine.eval()
        losses = [self._engine(*self._tensors(batch)) for batch in batches]
        self._engine.train()
        return self._mean_over_ranks(losses)

    def export_state(self) -> RankState:
        """This rank's fragments of fp32 weights and Adam moments: all that a continuation needs. Not copied."""
        state: dict[str, Fragment] = {}
        for name, place in self._places().items():
            kept = self._kept(self._names[name])
            run = slice(kept.offset, kept.offset + place.length)
            state[name] = Fragment(place, {kind: flat.detach()[run] for kind, flat in self._flats(kept.flat).items()})
        return state

    def import_state(self, state: WholeState, step: int) -> None:
        """Go on from a state after `step` optimizer steps, of this layout or another; call it before the first step.

        ValueError if it is the state of another model, StateError if it is not whole, both with nothing changed.
        """
        places = self._places()
        shapes = state.shapes
        for name, place in places.items():
            if shapes.get(name) != place.whole_shape:
                raise ValueError(f"the state has {name} as {shapes.get(name)}, this model as {place.whole_shape}")
        found = {name: state.fragment(name, place) for name, place in places.items()}
        for name, tensors in found.items():
            kept = self._kept(self._names[name])
            for kind, flat in self._flats(kept.flat, step).items():
                flat.data[kept.offset : kept.offset + len(tensors[kind])].copy_(tensors[kind])
        self._give_out_weights()

    def take_forward_seconds(self) -> float:
        """What this rank spent in the forward passes of training steps since the last call."""
        return self._clock.take_seconds()

    @property
    def peak_memory_bytes(self) -> int:
        """The most that this rank has held: of its GPU in tensors, or else of the machine."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB

    def exchange(self, payload: bytes) -> list[bytes]:
        """Every rank's payload, in the order of ranks; all must be equally long. Also a barrier."""
        mine = torch.tensor(list(payload), dtype=torch.uint8, device=self.device)
        gathered = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(gathered, mine)
        return [bytes(tensor.tolist()) for tensor in gathered]

    def close(self) -> None:
        """Leave the group of processes, once all have arrived here."""
        dist.barrier()
        dist.destroy_process_group()

    @property
    def _is_pipeline(self) -> bool:
        return self._config.layout.pipeline > 1

    def _places(self) -> dict[str, Place]:
        """Of the fragments that this rank keeps; in ZeRO some parameters are wholly others'."""
        places: dict[str, Place] = {}
        for name, parameter in self._names.items():
            run = self._run_of(parameter)
            if run is not None:
                dimension = shard_dimension(parameter)
                places[name] = Place(
                    shape=tuple(getattr(parameter, "ds_shape", parameter.shape)),
                    dimension=dimension,
                    part=0 if dimension is None else self._group.rank,
                    parts=1 if dimension is None else self._group.size,
                    start=run.start,
                    length=len(run),
                )
        return places

    def _run_of(self, parameter: Any) -> range | None:
        """Which numbers of its flattened parameter this rank keeps."""
        if self._config.layout.zero_stage == 3:
            share = -(-parameter.ds_numel // self._config.layout.data)
            run = range(share * self._place.data, min(share * (self._place.data + 1), parameter.ds_numel))
            return run if len(run) else None
        if parameter._hp_mapping is None:
            return None
        address = parameter._hp_mapping.lp_fragment_address
        return range(address.start, address.start + address.numel)

    def _kept(self, parameter: Any) -> "_Kept":
        """Where the numbers that this rank keeps of a parameter lie."""
        optimizer = self._engine.optimizer
        if self._config.layout.zero_stage == 3:
            group, offset, _ = optimizer.grad_position[optimizer.get_param_id(parameter)]
            return _Kept(optimizer.fp32_partitioned_groups_flat[group], offset)
        keeper = parameter._hp_mapping
        return _Kept(self._adam.param_groups[keeper.param_group_index]["params"][0], keeper.hp_fragment_address.start)

    def _flats(self, weights: Tensor, new_step: int | None = None) -> dict[str, Tensor]:
        """The flat tensors beside the fp32 weights, by kind; with a step, moments are made as of after that step.

        Adam makes its moments at its first step, so an optimizer that has not stepped has none to fill.
        """
        state = self._adam.state[weights]
        if new_step is not None and "exp_avg" not in state:
            state.update({kind: torch.zeros_like(weights.data) for kind in KINDS[1:]})
        if new_step is not None:
            state["step"] = torch.tensor(float(new_step), device=weights.device)
        return {"weights": weights} | {kind: state[kind] for kind in KINDS[1:]}

    def _give_out_weights(self) -> None:
        """Make the working weights of all ranks what the fp32 weights say."""
        optimizer = self._engine.optimizer
        if self._config.layout.zero_stage == 1:
            optimizer.update_lp_params()
            return
        for group in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(group)
        gathered = optimizer.persistent_parameters  # small ones, which every rank keeps whole
        if gathered:
            gathered[0].partition(gathered)
            gathered[0].all_gather(gathered)

    @property
    def _adam(self) -> Any:
        # DeepSpeed's ZeRO optimizer wraps ours; after wrapping, each group holds flat slices.
        return self._engine.optimizer.optimizer

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        tokens_BT, targets_BT = (torch.from_numpy(ids).to(self.device) for ids in batch)
        return tokens_BT, targets_BT

    def _mean_over_ranks(self, losses: Sequence[Tensor]) -> float:
        total = torch.stack([loss.double() for loss in losses]).mean()
        dist.all_reduce(total)
        return float(total) / self.world_size


class _LossModule(nn.Module):
    """DeepSpeed calls `forward` and differentiates what it returns."""

    def __init__(self, network: CodeModel, config: PretrainConfig) -> None:
        super().__init__()
        self.network = network
        self._config = config

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        within = self._config.document_attention == "within"
        return self.network.loss(
            tokens_BT,
            targets_BT,
            documents_BT=document_numbers(tokens_BT) if within else None,
            chunk_tokens=self._config.loss_chunk_tokens,
            z_loss_weight=self._config.z_loss_weight,
            compiled=self._config.compile_blocks,
        )


def _topology(config: PretrainConfig) -> Any:
    """Ranks in the order of `rank_places`: pipeline, data, tensor, the last one fastest."""
    layout = config.layout
    return PipeModelDataParallelTopology(num_pp=layout.pipeline, num_mp=layout.tensor, num_dp=layout.data)


@torch.no_grad()
def _set_first_weights(names: dict[str, nn.Parameter], model: ModelConfig, group: TensorGroup, seed: int) -> None:
    """Each rank draws the whole parameter and keeps its part, so that no layout begins with other weights."""
    for name, parameter in names.items():
        dimension = shard_dimension(parameter)
        shape = list(parameter.shape)
        if dimension is not None:
            shape[dimension] *= group.size
        whole = initial_weight(name, shape, model, seed)
        parameter.copy_(whole if dimension is None else whole.chunk(group.size, dim=dimension)[group.rank])


@dataclass(frozen=True)
class _Kept:
    """A run of numbers in one of the optimizer's flat tensors."""

    flat: Tensor
    offset: int


def _adamw(names: dict[str, nn.Parameter], config: PretrainConfig) -> torch.optim.AdamW:
    """Weight decay pulls on matrices only: biases and norms have a scale of their own (GPT-2 and nanoGPT practice)."""
    parameters = list(names.values())
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
