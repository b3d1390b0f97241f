"""A run whose training is on a cluster: how it is reached, and what is refused before the run begins."""

import os
from pathlib import Path

from components.config import PipelineConfig
from components.errors import ParamsError, ServiceError
from components.planning.placement import place_layout
from components.settings import Settings
from flows.cluster_plan import gang_of, training_name
from flows.plan_run import hardware_of
from k8s.cluster_launcher import Connection, connect, gang_named
from k8s.cluster_profile import is_placeholder
from k8s.gang_manifests import GangError
from k8s.gang_rules import ManifestError
from k8s.profile import Profile
from k8s.request import ClusterError

FLOW_RUN_VARIABLE = "STARLOOM_FLOW_RUN"
TASK_RUN_VARIABLE = "STARLOOM_TASK_RUN"
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
"""Set by the kubelet in every pod."""
_PATIENCE_SECONDS = 20.0
"""Before a run begins: a person waits."""


def open_connection(profile: Profile, patience_seconds: float = 300.0) -> Connection:
    """To the cluster of the profile; ServiceError if none is known."""
    context = profile.cluster.context if profile.cluster else None
    named = os.environ.get("KUBECONFIG")
    inside = _IN_CLUSTER in os.environ and not named and context is None
    kubeconfig = None if inside else Path(named or "~/.kube/config").expanduser()
    try:
        return connect(kubeconfig, context, patience_seconds=patience_seconds)
    except ClusterError as error:
        raise ServiceError(str(error)) from None


def refuse_placeholders(profile: Profile) -> None:
    """ParamsError if an image of the profile's cluster is none yet."""
    cluster = profile.cluster
    work = cluster.data_work if cluster else None
    images = {"image": cluster.image if cluster else "", "data_work.image": work.image if work else ""}
    for name, image in images.items():
        if is_placeholder(image):
            raise ParamsError(
                f"--profile {profile.name}: cluster.{name} is a placeholder; copy the profile into the workspace, put "
                "your image there, by its digest, and name that file"
            )


def refuse_unready_cluster(config: PipelineConfig, settings: Settings, profile: Profile) -> None:
    """Say before anything is run that the training could not be submitted; nothing for a profile without a cluster.

    ParamsError for what the profile asks, ServiceError if the cluster does not answer or the account may not ask it.
    """
    if profile.cluster is None:
        return
    refuse_placeholders(profile)
    pretrain = config.pretrain
    placement = place_layout(pretrain.layout, hardware_of(profile, pretrain.layout.world_size).devices_per_node)
    request = gang_of(pretrain.threads_per_process, profile, placement, training_name(config, settings))
    try:
        gang_named(open_connection(profile, _PATIENCE_SECONDS), profile, request).observed()
    except (GangError, ManifestError) as error:
        raise ParamsError(f"--profile {profile.name}: {error}") from None
    except ClusterError as error:
        raise ServiceError(f"--profile {profile.name}: {error}") from None
