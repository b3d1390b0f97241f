"""A run on a cluster, worked out and told without a cluster: plan, placement and manifests."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from components.catalog import STEPS, step_making, step_named
from components.config import PipelineConfig
from components.errors import ParamsError
from components.planning.placement import Placement, PodRanks, place_layout
from components.settings import Settings
from components.step import Step
from components.workspace import LOCK_HOLDER_VARIABLE, workspace_id
from flows.corpus_on_ray import ray_command, recipe_name
from flows.plan_run import cost_environment, plan_run, refuse_what_cannot_run
from flows.plan_tables import plan_tables
from flows.summary import together
from k8s.gang_manifests import gang_manifests, manifest_text
from k8s.gang_rules import require_sound
from k8s.pod import WORKSPACE
from k8s.profile import Profile
from k8s.ray_job import ray_job
from k8s.request import GangRequest

_TRAINED = "checkpoint"
"""The artifact that a gang makes."""
_MOST_PODS = 12
"""Rows of the table; of more pods the first and the last."""
_EXAMPLE = "deduplicate"
"""The corpus step whose RayJob is shown: others differ from it in name and command alone."""


def tell_dry_run(
    config: PipelineConfig, settings: Settings, profile: Profile, arguments: Sequence[str], out: Console
) -> None:
    """Print the plan of the training, where each rank would be, and the manifests as YAML; nothing is started.

    `arguments` are those of each step's command line: its parameters. The last manifest is that of one corpus step, if
    the profile has a Ray pool. ParamsError if the profile describes no cluster or cannot hold the layout: then with
    the nearest that it can.
    """
    require_cluster(profile)
    refuse_what_cannot_run(config, settings.workspace, profile)
    plan, hardware = plan_run(config, profile)
    placement = place_layout(config.pretrain.layout, hardware.devices_per_node)
    request = gang_of(config.pretrain.threads_per_process, profile, placement, training_name(config, settings))
    manifests = gang_manifests(profile, request)
    require_sound(manifests)
    out.print(together(plan_tables(plan, hardware), placement_table(placement, profile)))
    if work := profile.cluster.data_work if profile.cluster else None:
        asked = ray_command(step_named(_EXAMPLE), config, settings, work, arguments)
        manifests.append(ray_job(work, asked.name, asked.command, asked.environment))
        steps = ", ".join(step.name for step in STEPS if step.in_pieces)
        out.print(f"\nOn Ray, each as a RayJob like that of {_EXAMPLE} at the end: {steps}")
    print(f"\n{manifest_text(manifests)}", end="")  # as it is: to be piped, never folded


def gang_of(
    threads_per_process: int, profile: Profile, placement: Placement, name: str, owner: str | None = None
) -> GangRequest:
    """What the cluster is asked for: a training as `placement` deals it out, its request in the workspace.

    `owner` is the workspace: without it two of the same recipe would take each other's gang for theirs.
    """
    storage = profile.cluster.storage if profile.cluster else None
    environment = {
        "OMP_NUM_THREADS": str(threads_per_process),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what torch's deterministic algorithms ask for on a GPU
        "PYTHONSAFEPATH": "1",  # what lies in the working directory is data, never a module
    }
    if owner is not None:
        environment["STARLOOM_OWNER"] = owner
    if profile.cluster and profile.cluster.pool.gpu_resource is None:
        environment["DS_ACCELERATOR"] = "cpu"  # else DeepSpeed searches for one
    return GangRequest(
        name=name,
        agent=("python", "-m", "model.torchrun", f"--pipeline-nodes={placement.pipeline_nodes}"),
        command=("-m", "model.train_worker", f"{WORKSPACE}/.starloom/gangs/{name}/request.json"),
        nodes=len(placement.pods),
        processes_per_node=placement.processes_per_node,
        close_pods=placement.pipeline_nodes,
        environment=environment,
        checkpoint_store=storage.checkpoint_store if storage else None,
    )


def pod_of_step(
    step: Step, config: PipelineConfig, settings: Settings, profile: Profile, arguments: Sequence[str]
) -> GangRequest:
    """What the cluster is asked for by a step that needs a device: one pod that runs its command, with one device.

    `arguments` are those of its command line. Nothing in it depends on who submits, so it can be adopted.
    """
    name = recipe_name(step, config, settings)
    environment = {
        "STARLOOM_WORKSPACE": WORKSPACE,
        "STARLOOM_EVENTS": "json",
        LOCK_HOLDER_VARIABLE: name,  # as the guest that the run lets in
        "STARLOOM_OWNER": workspace_id(settings),
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        **cost_environment(profile),
    }
    if profile.cluster:
        environment["STARLOOM_IMAGE_DIGEST"] = profile.cluster.image.partition("@")[2]
    return GangRequest(
        name=name,
        agent=(),
        command=("python", "-m", "components", step.name, *arguments),
        nodes=1,
        processes_per_node=1,
        environment=environment,
        is_restarted=False,
    )


def training_name(config: PipelineConfig, settings: Settings) -> str:
    """Of the gang: the same recipe is never submitted twice."""
    return recipe_name(step_making(_TRAINED), config, settings)


def placement_table(placement: Placement, profile: Profile) -> Table:
    """Pods and their ranks; of many pods the first and the last."""
    pods = placement.pods
    queue = profile.cluster.queue if profile.cluster else None
    title = f"Placement of {len(pods) * placement.processes_per_node:,} ranks on {len(pods)} pods"
    if placement.pipeline_nodes > 1:
        title += f"; {placement.pipeline_nodes} that follow one another hold whole pipelines"
        title += " and share a block" if queue and queue.topology_level else ""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in ("pod", "node rank", "ranks", "stages", "replicas"):
        table.add_column(heading, justify="right")
    shown = pods if len(pods) <= _MOST_PODS else (*pods[: _MOST_PODS - 2], None, pods[-1])
    for pod in shown:
        table.add_row(*_row(pod) if pod else ["..."] * 5)
    return table


def _row(pod: PodRanks) -> tuple[str, ...]:
    return str(pod.pod), str(pod.node), _span(pod.ranks), _span(pod.stages), _span(pod.replicas)


def _span(numbers: Sequence[int]) -> str:
    """First and last of consecutive numbers; of others all."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) == 1:
        return str(first)
    if last - first + 1 == len(numbers):
        return f"{first}-{last}"
    return ", ".join(map(str, numbers))


def require_cluster(profile: Profile) -> None:
    """ParamsError if the profile describes none."""
    if profile.cluster is None:
        raise ParamsError(
            f"--profile {profile.name}: it describes no cluster; give it a `cluster` section, name another profile, or "
            "leave --profile out to run on this machine"
        )
