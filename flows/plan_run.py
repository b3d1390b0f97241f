"""Joins a parameter file and a pool's profile to a plan, and keeps a run from starting that cannot fit."""

from pathlib import Path

import psutil

from components.config import PipelineConfig
from components.errors import ParamsError
from components.planning.hardware import DEVICES, Hardware
from components.planning.plan_page import SHOWN_MICRO_BATCHES, plan_page
from components.planning.run_cost import DeviceCosts
from components.planning.search_layouts import PoolPlan, plan_pool
from components.settings import DEVICE_COSTS_VARIABLE
from components.training.start_model import require_fitting_start
from k8s.profile import Profile, ProfileError, load_profile


def known_profile(name_or_path: str, workspace: Path, option: str = "--profile") -> Profile:
    """The profile of that name, or the .yaml file relative to the workspace; ParamsError says what is wrong with it."""
    is_file = name_or_path.endswith((".yaml", ".yml"))
    try:
        return load_profile(str(workspace / name_or_path) if is_file else name_or_path)
    except ProfileError as error:
        raise ParamsError(f"{option}: {error}") from None


def plan_run(config: PipelineConfig, profile: Profile) -> tuple[PoolPlan, Hardware]:
    """The plan of the training on the pool."""
    ranks = config.pretrain.layout.world_size
    hardware = hardware_of(profile, ranks)
    devices = ranks if profile.devices_per_node is None else hardware.num_devices
    vocab_size = config.train_tokenizer.vocab_size
    return plan_pool(config.model, vocab_size, config.pretrain, hardware, num_devices=devices), hardware


def hardware_of(profile: Profile, ranks: int) -> Hardware:
    """The pool as the planner sees it. On this machine a device is a rank, and the ranks share the machine's memory."""
    kind = DEVICES.get(profile.device)
    if kind is None:
        raise ParamsError(f"profile {profile.name}: device {profile.device!r} is none of {', '.join(DEVICES)}")
    per_node = profile.devices_per_node
    if per_node is None:
        per_node = ranks
        kind = kind.model_copy(update={"memory_bytes": psutil.virtual_memory().total // ranks})
    elif profile.cluster and kind.memory_bytes == 0:  # no device brings memory of its own: what the pod may have
        memory_bytes = profile.cluster.limits.memory_gib * 2**30 // per_node
        kind = kind.model_copy(update={"memory_bytes": memory_bytes})
    return Hardware(
        pool=profile.name,
        device=profile.device,
        kind=kind,
        devices_per_node=per_node,
        nodes=profile.nodes,
        network_bytes_per_second=profile.network_bytes_per_second_per_node / per_node,
        costs=_costs_of(profile),
        device_hours_between_interruptions=profile.device_hours_between_interruptions,
        checkpoint_stall_seconds=profile.checkpoint_stall_seconds,
    )


def refuse_what_cannot_run(config: PipelineConfig, workspace: Path, profile: Profile) -> None:
    """Say before anything is run what would stop the training after hours of work on the corpus.

    ParamsError if the plan says that it does not fit the pool, with the nearest layout that does, or if the model that
    it starts from is another network; SourceError if that is not there.
    """
    require_fitting_start(config.pretrain, config.model, config.train_tokenizer.vocab_size, workspace)
    plan, _ = plan_run(config, profile)
    if plan.asked.refusals:
        mend = f"the nearest that fits is {plan.nearest.name}" if plan.nearest else "no layout of the pool fits"
        raise ParamsError(
            f"pretrain.layout cannot run on {profile.name}: {'; '.join(plan.asked.refusals)}; {mend}; "
            "`starloom plan` tells more"
        )


def cost_environment(profile: Profile) -> dict[str, str]:
    """Tells a step what a device-hour of the pool costs, for its record."""
    return {DEVICE_COSTS_VARIABLE: _costs_of(profile).model_dump_json()}


def write_page(plan: PoolPlan, hardware: Hardware, config: PipelineConfig, path: Path) -> None:
    """Write the plan as an HTML file; ParamsError if it cannot be written there."""
    from components.planning.plan_schedule import planned_timeline  # noqa: PLC0415 - DeepSpeed costs seconds

    vocab_size = config.train_tokenizer.vocab_size
    works, drawn = planned_timeline(plan.asked, config.model, vocab_size, hardware, SHOWN_MICRO_BATCHES)
    try:
        path.write_text(plan_page(plan, hardware, works, drawn), encoding="utf-8")
    except OSError as error:
        raise ParamsError(f"--html {path} cannot be written: {error.strerror}") from None


def _costs_of(profile: Profile) -> DeviceCosts:
    return DeviceCosts(
        pool=profile.name,
        device=profile.device,
        price_per_hour_usd=profile.price_per_device_hour_usd,
        watts=profile.watts_per_device,
        power_usage_effectiveness=profile.power_usage_effectiveness,
        carbon_kg_per_kwh=profile.carbon_kg_per_kwh,
    )
