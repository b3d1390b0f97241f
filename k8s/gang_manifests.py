"""From a profile and a request to the manifests of a gang: a pure function, the same bytes for the same arguments.

Where JobSet is, one JobSet with one Indexed Job: its pods start anew together. Where it is not, an Indexed Job and the
service that its pods find each other by; that is no gang, and the manifest says so.
"""

import io
from typing import Any

from ruamel.yaml import YAML

from k8s.cluster_profile import Cluster, JobSetGang, Queue
from k8s.failure_rules import TRAINER, pod_failure_policy, set_failure_policy
from k8s.pod import MASTER_PORT, pod_spec
from k8s.profile import Profile
from k8s.request import GangRequest

Manifest = dict[str, Any]

_INSTANCE = "app.kubernetes.io/instance"
_NO_GANG = (
    "This is no gang: pods start one by one, so with too few nodes some hold theirs and wait for the rest, and nothing "
    "starts the whole again when one fails. Install JobSet, and Kueue for admission as a whole, and say so in the "
    "profile."
)


class GangError(Exception):
    """The profile cannot run what is asked; one sentence with the mend."""


def gang_manifests(profile: Profile, request: GangRequest) -> list[Manifest]:
    """What to submit, in that order.

    GangError if the profile describes no cluster, or fewer nodes or devices than are asked for.
    """
    cluster = _cluster_that_fits(profile, request)
    if isinstance(cluster.gang, JobSetGang):
        return [_jobset(cluster, cluster.gang, request)]
    return [_service(cluster, request), _job_alone(cluster, request)]


def manifest_text(manifests: list[Manifest]) -> str:
    """YAML, one document each, in the order of the keys as they were put together."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue] - not in its stubs
    yaml.width = 4096
    yaml.explicit_start = True  # pyright: ignore[reportAttributeAccessIssue]
    text = io.StringIO()
    yaml.dump_all(manifests, text)
    return text.getvalue()


def _cluster_that_fits(profile: Profile, request: GangRequest) -> Cluster:
    if profile.cluster is None or profile.devices_per_node is None:
        raise GangError(f"profile {profile.name} describes no cluster; give it a `cluster` section or name another")
    if request.nodes > profile.nodes or request.processes_per_node > profile.devices_per_node:
        raise GangError(
            f"{request.name} asks for {request.nodes} nodes of {request.processes_per_node} devices, {profile.name} "
            f"has {profile.nodes} of {profile.devices_per_node}; ask for fewer or name a larger pool"
        )
    return profile.cluster


def _jobset(cluster: Cluster, gang: JobSetGang, request: GangRequest) -> Manifest:
    spec: Manifest = {"ttlSecondsAfterFinished": cluster.ttl_seconds}
    if cluster.queue:
        spec["suspend"] = True  # Kueue lets it begin
    spec |= {
        # A pod must be found before it is ready: rank 0 is ready only when the others have found it.
        "network": {"enableDNSHostnames": True, "subdomain": request.name, "publishNotReadyAddresses": True},
        "failurePolicy": set_failure_policy(gang, is_restarted=request.is_restarted),
        "replicatedJobs": [
            {
                "name": TRAINER,
                "replicas": 1,
                "template": {"metadata": {"labels": _labels(request)}, "spec": _job_spec(cluster, request)},
            }
        ],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(cluster, request, request.name) | {"labels": _labels(request) | _queue_labels(cluster)},
        "spec": spec,
    }


def _job_alone(cluster: Cluster, request: GangRequest) -> Manifest:
    metadata = _metadata(cluster, request, _job_name(request))
    spec: Manifest = {"ttlSecondsAfterFinished": cluster.ttl_seconds}
    if cluster.queue:
        spec["suspend"] = True
    spec |= _job_spec(cluster, request)
    spec["template"]["spec"]["subdomain"] = request.name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata
        | {"labels": _labels(request) | _queue_labels(cluster), "annotations": {"starloom/gang": _NO_GANG}},
        "spec": spec,
    }


def _service(cluster: Cluster, request: GangRequest) -> Manifest:
    """Headless: it only gives the pods names. A JobSet makes its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(cluster, request, request.name) | {"labels": _labels(request)},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {_INSTANCE: request.name},
            "ports": [{"name": "rendezvous", "port": MASTER_PORT}],
        },
    }


def _job_spec(cluster: Cluster, request: GangRequest) -> Manifest:
    template: Manifest = {"metadata": {"labels": _labels(request)}}
    annotations = _topology(cluster.queue, request)
    if annotations:
        template["metadata"]["annotations"] = annotations
    template["spec"] = pod_spec(cluster, request, f"{_job_name(request)}-0.{request.name}")
    return {
        "completionMode": "Indexed",
        "completions": request.nodes,
        "parallelism": request.nodes,
        "backoffLimit": 0,  # one pod made anew would meet ranks that hang in a collective with its dead predecessor
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": pod_failure_policy(cluster.gang, is_restarted=request.is_restarted),
        "template": template,
    }


def _job_name(request: GangRequest) -> str:
    """As a JobSet names its Job; the Job alone bears the same, so that pods have the same names in both."""
    return f"{request.name}-{TRAINER}-0"


def _metadata(cluster: Cluster, request: GangRequest, name: str) -> Manifest:
    return {"name": name, "namespace": cluster.namespace}


def _labels(request: GangRequest) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "starloom",
        "app.kubernetes.io/component": "training",
        _INSTANCE: request.name,
    }


def _queue_labels(cluster: Cluster) -> dict[str, str]:
    queue = cluster.queue
    if queue is None:
        return {}
    labels = {"kueue.x-k8s.io/queue-name": queue.local_queue}
    if queue.priority_class:
        labels["kueue.x-k8s.io/priority-class"] = queue.priority_class
    return labels


def _topology(queue: Queue | None, request: GangRequest) -> dict[str, str]:
    """The whole in one block if it fits there; else in as few as can be, pods that speak most with each other in one.

    Kueue gives nodes to pods in the order of their index.
    """
    if queue is None or queue.topology_level is None or queue.nodes_per_block is None:
        return {}
    level = queue.topology_level
    if request.nodes <= queue.nodes_per_block:
        return {"kueue.x-k8s.io/podset-required-topology": level}
    asked = {"kueue.x-k8s.io/podset-preferred-topology": level}
    if 1 < request.close_pods <= queue.nodes_per_block:
        asked["kueue.x-k8s.io/podset-slice-required-topology"] = level
        asked["kueue.x-k8s.io/podset-slice-size"] = str(request.close_pods)
    return asked
