"""Kueue's own objects for pools of nodes: python -m k8s.queues PROFILE... | kubectl apply --server-side --filename -

A pure function of the profiles: what a gang asks for times the nodes of its pool is the quota, so a gang of the whole
pool fits and one node more does not. Field names are those of Kueue 0.13 (v1beta1, topologies v1alpha1). Profiles with
the same queue share it: each pool is a flavor of it, and the labels that pods ask for choose the flavor.
Exit codes: 0 printed, 2 what was named cannot be used.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from k8s.cluster_profile import Cluster, Queue, Toleration
from k8s.gang_manifests import Manifest, manifest_text
from k8s.pod import asked_resources
from k8s.profile import Profile, ProfileError, load_profile

_HOST = "kubernetes.io/hostname"
_MOST_LABELS = 8
"""Of a flavor (Kueue's CRD)."""


class QueueError(Exception):
    """Kueue cannot tell these pools apart, or has nothing to do with one; one sentence with the mend."""


@dataclass(frozen=True)
class _Pool:
    """A profile whose gangs go through Kueue, with what is known of it then."""

    name: str
    nodes: int
    devices: int
    cluster: Cluster
    queue: Queue

    @property
    def cluster_queue(self) -> str:
        """Neither namespaces nor local queues have a dot in their names, so no two pairs make one name."""
        return f"{self.cluster.namespace}.{self.queue.local_queue}"


def queue_manifests(profiles: Sequence[Profile]) -> list[Manifest]:
    """What these profiles need of Kueue, in the order to apply it; their namespaces are there already.

    QueueError if a profile has no queue, or no label tells the nodes of two pools apart.
    """
    pools = [_pool(profile) for profile in profiles]
    for one, other in itertools.combinations(pools, 2):
        _require_apart(one, other)
    return [
        *(_topology(pool.name, pool.queue.topology_level) for pool in pools if pool.queue.topology_level),
        *map(_flavor, pools),
        *_priority_classes(pools),
        *(_cluster_queue(name, ours) for name, ours in _by_queue(pools)),
        *(_local_queue(name, ours[0]) for name, ours in _by_queue(pools)),
    ]


def _pool(profile: Profile) -> _Pool:
    cluster = profile.cluster
    if cluster is None or cluster.queue is None or profile.devices_per_node is None:
        raise QueueError(
            f"profile {profile.name} has no cluster.queue, so Kueue has nothing to do with it; leave it out"
        )
    if not 0 < len(cluster.pool.labels) <= _MOST_LABELS:
        raise QueueError(
            f"profile {profile.name}: cluster.pool.labels has {len(cluster.pool.labels)} labels, Kueue knows the nodes "
            f"of a pool by 1 to {_MOST_LABELS}; name those that its nodes bear"
        )
    return _Pool(profile.name, profile.nodes, profile.devices_per_node, cluster, cluster.queue)


def _require_apart(one: _Pool, other: _Pool) -> None:
    """Else each node would be counted in both quotas, and a gang of one pool be placed in the other."""
    ours, theirs = one.cluster.pool.labels, other.cluster.pool.labels
    if one.name == other.name:
        raise QueueError(f"profile {one.name} is named twice; name it once")
    if not any(key in theirs and theirs[key] != value for key, value in ours.items()):
        raise QueueError(
            f"{one.name} and {other.name} may mean the same nodes: no key of cluster.pool.labels has different values "
            "in them; give their nodes such a label, or leave one of the profiles out"
        )


def _by_queue(pools: Sequence[_Pool]) -> Iterator[tuple[str, list[_Pool]]]:
    """In the order in which queues are first named."""
    for name in dict.fromkeys(pool.cluster_queue for pool in pools):
        yield name, [pool for pool in pools if pool.cluster_queue == name]


def _topology(name: str, level: str) -> Manifest:
    return {
        "apiVersion": "kueue.x-k8s.io/v1alpha1",
        "kind": "Topology",
        "metadata": {"name": name},
        "spec": {"levels": [{"nodeLabel": level}, {"nodeLabel": _HOST}]},
    }


def _flavor(pool: _Pool) -> Manifest:
    spec: Manifest = {"nodeLabels": dict(pool.cluster.pool.labels)}
    # As taints of the flavor, not as tolerations that it lends: what does not tolerate them is never admitted.
    taints = [_taint(toleration) for toleration in pool.cluster.pool.tolerations]
    if taints:
        spec["nodeTaints"] = taints
    if pool.queue.topology_level:
        spec["topologyName"] = pool.name
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "ResourceFlavor",
        "metadata": {"name": pool.name},
        "spec": spec,
    }


def _taint(toleration: Toleration) -> dict[str, str]:
    """One that it tolerates; the value of the nodes' own is not known where any is tolerated, and does not count."""
    value = {} if toleration.value is None else {"value": toleration.value}
    return {"key": toleration.key, **value, "effect": toleration.effect or "NoSchedule"}


def _priority_classes(pools: Sequence[_Pool]) -> Iterator[Manifest]:
    values: dict[str, int] = {}
    for pool in pools:
        name, value = pool.queue.priority_class, pool.queue.priority
        if name is None or value is None:
            continue
        if values.setdefault(name, value) != value:
            raise QueueError(
                f"priority class {name} is {values[name]} in one profile and {value} in {pool.name}; say "
                "the same in all"
            )
    for name, value in values.items():
        yield {
            "apiVersion": "kueue.x-k8s.io/v1beta1",
            "kind": "WorkloadPriorityClass",
            "metadata": {"name": name},
            "value": value,
        }


def _cluster_queue(name: str, pools: Sequence[_Pool]) -> Manifest:
    asked = [asked_resources(pool.cluster, pool.devices) for pool in pools]
    covered = list(dict.fromkeys(resource for resources in asked for resource in resources))
    flavors = [
        {
            "name": pool.name,
            "resources": [
                {"name": one, "nominalQuota": _times(resources[one], pool.nodes) if one in resources else "0"}
                for one in covered
            ],
        }
        for pool, resources in zip(pools, asked, strict=True)
    ]
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "ClusterQueue",
        "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": pools[0].cluster.namespace}},
            # By priority, then by age; what does not fit holds up nothing that does, of the other pools least of all.
            "queueingStrategy": "BestEffortFIFO",
            # A higher class takes the place of a lower one, which has saved its work; an equal one waits.
            "preemption": {
                "withinClusterQueue": "LowerPriority",
                "reclaimWithinCohort": "Never",
                "borrowWithinCohort": {"policy": "Never"},
            },
            "resourceGroups": [{"coveredResources": covered, "flavors": flavors}],
        },
    }


def _local_queue(cluster_queue: str, pool: _Pool) -> Manifest:
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": {"name": pool.queue.local_queue, "namespace": pool.cluster.namespace},
        "spec": {"clusterQueue": cluster_queue},
    }


def _times(quantity: str, factor: int) -> str:
    """Whole, as profiles write them; the unit stays, so that a person can check it in his head."""
    digits = quantity.rstrip("KMGi")
    return f"{int(digits) * factor}{quantity[len(digits) :]}"


def main(arguments: Sequence[str]) -> int:
    """Print the manifests for the profiles that are named."""
    if not arguments:
        print("name the profiles whose gangs go through Kueue: python -m k8s.queues PROFILE...", file=sys.stderr)
        return 2
    try:
        print(manifest_text(queue_manifests([load_profile(name) for name in arguments])), end="")
    except (ProfileError, QueueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
