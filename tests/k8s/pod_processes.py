"""A JobSet's pods as processes of this machine: the same commands, variables and failure rules as its manifest says.

What a cluster gives and processes lack is replaced and nothing else: pod names by the loopback address, the rendezvous
port by a free one, mounted volumes by a directory of each pod, secrets by their variables. Memory, devices, placement
and security are not there.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.free_port import free_port

ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.05


@dataclass
class Pod:
    """One process group and what it sees as its volume."""

    index: int
    node: Path
    process: subprocess.Popen[bytes]
    attempt: int = 0
    listener: threading.Thread | None = None

    def kill(self) -> None:
        """As a node that is gone: all of it, without a word."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def evict(self) -> None:
        """As the kubelet: its first process is asked to end."""
        self.process.send_signal(signal.SIGTERM)


@dataclass
class GangOfProcesses:
    """Runs a JobSet with one replicated Job as its controller would."""

    jobset: dict[str, Any]
    place: Path
    """Nodes' disks arise here; a pod of the next attempt gets a new one, as if it had come to another node."""
    fill: Callable[[Path], None]
    """Puts what the workspace volume holds into a node's directory."""
    secrets: Mapping[str, Mapping[str, str]]
    restarts: int = 0
    """Those that count against maxRestarts."""
    ignored_restarts: int = 0
    codes: list[int] = field(default_factory=list[int])
    """Of each attempt: that of the pod that failed first, 0 if none did."""
    workspace: Path | None = None
    """One volume for all pods, in place of a disk for each."""
    on_pod: Callable[[Pod, int | None], None] = lambda pod, code: None
    """Hears of every pod that begins, and that ends with a code."""
    on_line: Callable[[Pod, str], None] | None = None
    """Hears what pods say, on both streams; else the error stream is kept in a file."""
    is_deleted: Callable[[], bool] = lambda: False
    has_room: Callable[[], bool] = lambda: True
    """Asked before each attempt; one for which there is no room waits for ever."""

    @property
    def size(self) -> int:
        """Its pods."""
        return self._job["completions"]

    def run(self, disturb: Callable[[list[Pod]], None] = lambda _: None) -> str:
        """To the end: "succeeded", "failed", "deleted" or "waits". `disturb` meets the pods of the first attempt."""
        policy = self.jobset["spec"]["failurePolicy"]
        while True:
            attempt = len(self.codes)
            if not self.has_room():
                return "waits"
            pods = [self._start(index, attempt) for index in range(self.size)]
            try:
                for pod in pods:
                    self.on_pod(pod, None)
                if attempt == 0:
                    disturb(pods)
                code = self._ended(pods)
            finally:
                for pod in pods:
                    if pod.process.poll() is None:
                        pod.kill()
                    code_of_pod = _as_shell(pod.process.wait())
                    if pod.listener:
                        pod.listener.join()
                    self.on_pod(pod, code_of_pod)
            self.codes.append(code)
            if code == 0:
                return "succeeded"
            if self.is_deleted():
                return "deleted"
            action = self._action(code, policy)
            if action == "FailJobSet" or (action == "RestartJobSet" and self.restarts == policy["maxRestarts"]):
                return "failed"
            self.restarts += action == "RestartJobSet"
            self.ignored_restarts += action == "RestartJobSetAndIgnoreMaxRestarts"

    @property
    def _job(self) -> dict[str, Any]:
        (job,) = self.jobset["spec"]["replicatedJobs"]
        return job["template"]["spec"]

    def _start(self, index: int, attempt: int) -> Pod:
        if index == 0:
            self._port = free_port()
        node = self.workspace or self.place / f"attempt-{attempt}-node-{index}"
        if node != self.workspace:
            node.mkdir(parents=True)
            self.fill(node)
        spec = self._job["template"]["spec"]
        (container,) = spec["containers"]
        (mount,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "workspace"]
        variables = {
            name: str(node) + value.removeprefix(mount) if value.startswith(mount) else value
            for name, value in self._variables(container, index).items()
        }
        command = [self._argument(part, variables, mount, node) for part in container["command"]]
        assert command[0] == "python"
        self.place.mkdir(parents=True, exist_ok=True)
        with (self.place / f"attempt-{attempt}-pod-{index}.stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *command[1:]],
                cwd=container["workingDir"].replace(mount, str(node)),
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | variables,
                stdout=subprocess.PIPE if self.on_line else subprocess.DEVNULL,
                stderr=subprocess.STDOUT if self.on_line else errors,
                start_new_session=True,
            )
        pod = Pod(index, node, process, attempt)
        if self.on_line:
            pod.listener = threading.Thread(target=self._listen, args=(pod, self.on_line), daemon=True)
            pod.listener.start()
        return pod

    def _listen(self, pod: Pod, on_line: Callable[[Pod, str], None]) -> None:
        for line in pod.process.stdout or ():
            on_line(pod, line.decode(errors="replace").rstrip("\n"))

    def _variables(self, container: dict[str, Any], index: int) -> dict[str, str]:
        index_path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        told: dict[str, str] = {}
        for source in container.get("envFrom", []):
            told |= self.secrets[source["secretRef"]["name"]]
        for variable in container["env"]:
            if "value" in variable:
                told[variable["name"]] = variable["value"]
            else:
                assert variable["valueFrom"]["fieldRef"]["fieldPath"] == index_path
                told[variable["name"]] = str(index)
        return told

    def _argument(self, part: str, variables: Mapping[str, str], mount: str, node: Path) -> str:
        for name, value in variables.items():
            part = part.replace(f"$({name})", value)
        first_pod = f"{self.jobset['metadata']['name']}-trainer-0-0.{self.jobset['spec']['network']['subdomain']}"
        replaced = {f"--master-addr={first_pod}": "127.0.0.1", "--master-port=29500": str(self._port)}
        if part in replaced:
            return f"{part.partition('=')[0]}={replaced[part]}"
        return part.replace(mount, str(node)) if part.startswith(mount) else part

    def _ended(self, pods: list[Pod]) -> int:
        """0 when all ended well; else the code of the first that has not. The set then ends the rest, with grace."""
        while True:
            running = [pod for pod in pods if pod.process.poll() is None]
            failed = [pod for pod in pods if pod.process.poll()]
            if failed or self.is_deleted():
                break
            if not running:
                return 0
            time.sleep(_POLL_SECONDS)
        for pod in pods:
            if pod.process.poll() is None:
                pod.evict()
        for pod in pods:
            with suppress(subprocess.TimeoutExpired):
                pod.process.wait(self._job["template"]["spec"]["terminationGracePeriodSeconds"])
        return _as_shell((failed or pods)[0].process.returncode)

    def _action(self, code: int, policy: dict[str, Any]) -> str:
        """What the set does when its Job fails: the Job's rule that matches leaves a message, which the set's read."""
        for index, rule in enumerate(self._job["podFailurePolicy"]["rules"]):
            if code in rule.get("onExitCodes", {}).get("values", []):
                message = f"Container trainer failed with exit code {code} matching FailJob rule at index {index}"
                for asked in policy["rules"]:
                    patterns = asked.get("onJobFailureMessagePatterns", [""])
                    if any(re.search(pattern, message) for pattern in patterns):
                        return asked["action"]
        return "RestartJobSet"


def _as_shell(code: int) -> int:
    """128 + n when signal n ended it."""
    return 128 - code if code < 0 else code
