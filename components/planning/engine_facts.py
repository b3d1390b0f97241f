"""What one engine keeps and sends and another does not: the planner plans for ours and is tested on others' figures."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class EngineFacts(BaseModel):
    """Properties of a training engine that memory and time depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    reduction: Literal["all_reduce", "reduce_scatter"]
    """How replicas add up their gradients under ZeRO-1: every rank gets every sum, or its own share only."""
    keeps_bf16_gradients: bool
    """Whether gradients lie in bf16 beside the fp32 sums."""
    keeps_gathered_inputs: bool
    """Whether under sequence parallelism a layer keeps its input of all tokens, or gathers them once more; Megatron-LM
    does that beside a computation, so it counts for no time."""
    sends_while_receiving: bool
    """Whether a stage's message up and its message down cross, or wait for each other."""
    cuts_messages: bool
    """Whether tensor ranks each send a part of what they all hold from stage to stage."""


OUR_ENGINE = EngineFacts(
    name="DeepSpeed 0.19.8 with BF16_Optimizer",
    reduction="all_reduce",  # runtime/pipe/engine.py, _bf16_reduce_grads
    keeps_bf16_gradients=True,  # runtime/bf16_optimizer.py: parameter.grad beside fp32_groups_gradients_flat
    keeps_gathered_inputs=True,  # model/tensor_parallel.py, enter
    sends_while_receiving=False,  # runtime/pipe/p2p.py: send and recv one after the other
    cuts_messages=False,  # model/deepspeed_config.py turns pipe_partitioned off
)

MEGATRON_LM = EngineFacts(
    name="Megatron-LM with --use-distributed-optimizer",
    reduction="reduce_scatter",
    keeps_bf16_gradients=False,
    keeps_gathered_inputs=False,
    sends_while_receiving=True,
    cuts_messages=True,
)
"""As BigCode trained StarCoderBase (bigcode-project/Megatron-LM, examples/pretrain_bigcode_model.slurm)."""
