"""A cluster of one machine behind the API's stand-in: the pods of what is submitted run as real processes.

It plays what a JobSet's controller and the kubelets do, as far as a training needs it: pods from the manifest itself
(`pod_processes.py`), their states, logs and exit codes, restarts by the manifest's failure policy. It is no Kubernetes:
nothing is scheduled, limited or isolated, and all pods see the workspace itself as their volume.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from k8s.profile import PROFILES_DIR
from tests.k8s.api_stand_in import ApiStandIn
from tests.k8s.pod_processes import GangOfProcesses, Pod

_POLL_SECONDS = 0.05

Disturb = Callable[[str, list[Pod]], None]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def write_profile(path: Path) -> None:
    """kind-cpu's nodes with JobSet, and an image by a digest that nobody pulls."""
    yaml = YAML(typ="safe", pure=True)
    raw: Any = yaml.load((PROFILES_DIR / "kind-cpu.yaml").read_text())
    raw["name"] = path.stem
    raw["cluster"] |= {
        "image": f"registry.example.com/starloom-training@sha256:{'1' * 64}",
        "gang": {"kind": "jobset", "version": "0.10.1", "max_restarts": 3},
        "shrink": {"after_seconds": 1, "min_nodes": 1},
    }
    path.parent.mkdir(exist_ok=True)
    yaml.dump(raw, path)


@dataclass
class ClusterOfProcesses:
    """Runs each JobSet that it finds, in a thread of its own; one that is deleted ends with its pods."""

    api: ApiStandIn
    workspace: Path
    nodes: int
    """A set of more pods has some that wait for a node, and does not begin, or not again."""
    disturb: Disturb = lambda name, pods: None
    """Meets the pods of each set's first attempt."""
    gangs: dict[str, GangOfProcesses] = field(default_factory=dict[str, GangOfProcesses])
    """Those that were begun, by name; one that was made anew counts once."""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def start(self) -> None:
        self.api.removal_seconds = None
        self._begin(self._watch)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            with self.api.changed:
                new = [
                    (path, one)
                    for path, one in self.api.objects.items()
                    if one.get("kind") == "JobSet" and "status" not in one
                ]
                for path, _ in new:
                    self.api.change(path, restarts=0)
            for path, one in new:
                self._begin(_SetAtWork(self, path, one).run)

    def is_gone(self, path: str) -> bool:
        """Whether it is to end: deleted, or the test is over."""
        with self.api.changed:
            one = self.api.objects.get(path)
            return self._stopping.is_set() or one is None or "deletionTimestamp" in one["metadata"]


class _SetAtWork:
    """One JobSet from its first pod until it is deleted."""

    def __init__(self, cluster: ClusterOfProcesses, path: str, jobset: dict[str, Any]) -> None:
        self._cluster, self._api, self._path, self._jobset = cluster, cluster.api, path, jobset
        self._name: str = jobset["metadata"]["name"]
        self._namespace: str = jobset["metadata"]["namespace"]
        self._shown: list[str] = []
        self._started: dict[int, str] = {}
        self._gang = GangOfProcesses(
            jobset,
            cluster.workspace.parent / "pods" / self._name,
            lambda node: None,
            {},
            workspace=cluster.workspace,
            on_pod=self._show,
            on_line=lambda pod, line: self._api.say(self._pod_name(pod.index, pod.attempt), line),
            is_deleted=lambda: cluster.is_gone(path),
            has_room=lambda: self._gang.size <= cluster.nodes,
        )

    def run(self) -> None:
        self._cluster.gangs[self._name] = self._gang
        outcome = self._gang.run(lambda pods: self._cluster.disturb(self._name, pods))
        if outcome == "waits":
            self._wait_for_nodes()
        elif outcome != "deleted" and not self._cluster.is_gone(self._path):
            self._end(outcome)
        while not self._cluster.is_gone(self._path):
            threading.Event().wait(_POLL_SECONDS)
        self._clear()
        with self._api.changed:
            if self._path in self._api.objects:
                self._api.remove(self._path)

    def _wait_for_nodes(self) -> None:
        attempt = len(self._gang.codes)
        self._begin_attempt(attempt)
        for index in range(self._gang.size):
            has_node = index < self._cluster.nodes
            self._put(index, attempt, "Running" if has_node else "Pending", {"running": {}} if has_node else {})

    def _begin_attempt(self, attempt: int) -> None:
        if attempt:
            self._clear()
            self._api.change(self._path, restarts=self._gang.restarts + self._gang.ignored_restarts)

    def _end(self, outcome: str) -> None:
        kind, reason = ("Completed", "AllJobsCompleted") if outcome == "succeeded" else ("Failed", "FailedJobs")
        condition = {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": _now()}
        self._api.change(self._path, conditions=[condition])

    def _show(self, pod: Pod, code: int | None) -> None:
        if code is None:
            if pod.index == 0:
                self._begin_attempt(pod.attempt)
            self._started[pod.index] = _now()
            self._put(pod.index, pod.attempt, "Running", {"running": {"startedAt": _now()}})
        else:
            why = "Error" if code else "Completed"
            ended = {"exitCode": code, "reason": why, "startedAt": self._started[pod.index], "finishedAt": _now()}
            self._put(pod.index, pod.attempt, "Failed" if code else "Succeeded", {"terminated": ended})

    def _put(self, index: int, attempt: int, phase: str, state: dict[str, Any]) -> None:
        name = self._pod_name(index, attempt)
        placed = phase != "Pending"
        waits = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
        one = {
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": {
                    "app.kubernetes.io/instance": self._name,
                    "jobset.sigs.k8s.io/restart-attempt": str(attempt),
                },
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
            },
            "spec": {"nodeName": f"node-{index}"} if placed else {},
            "status": {
                "phase": phase,
                **({"startTime": self._started.setdefault(index, _now())} if placed else {}),
                "conditions": [] if placed else [waits],
                "containerStatuses": [{"name": "trainer", "state": state}] if placed else [],
            },
        }
        self._api.put(self._pod_path(name), one)
        if name not in self._shown:
            self._shown.append(name)

    def _clear(self) -> None:
        with self._api.changed:
            for name in self._shown:
                self._api.remove(self._pod_path(name))
        self._shown = []

    def _pod_path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods/{name}"

    def _pod_name(self, index: int, attempt: int) -> str:
        return f"{self._name}-trainer-0-{index}-r{attempt}"
