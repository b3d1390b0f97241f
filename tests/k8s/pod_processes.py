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
    """One process group and its node's disk."""

    index: int
    node: Path
    process: subprocess.Popen[bytes]

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

    def run(self, disturb: Callable[[list[Pod]], None] = lambda _: None) -> str:
        """To the end of the set: "succeeded" or "failed". `disturb` meets the pods of the first attempt."""
        policy = self.jobset["spec"]["failurePolicy"]
        while True:
            attempt = len(self.codes)
            pods = [self._start(index, attempt) for index in range(self._job["completions"])]
            try:
                if attempt == 0:
                    disturb(pods)
                code = self._ended(pods)
            finally:
                for pod in pods:
                    if pod.process.poll() is None:
                        pod.kill()
                    pod.process.wait()
            self.codes.append(code)
            if code == 0:
                return "succeeded"
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
        node = self.place / f"attempt-{attempt}-node-{index}"
        node.mkdir(parents=True)
        self.fill(node)
        spec = self._job["template"]["spec"]
        (container,) = spec["containers"]
        (mount,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "workspace"]
        variables = self._variables(container, index)
        command = [self._argument(part, variables, mount, node) for part in container["command"]]
        assert command[0] == "python"
        with (self.place / f"attempt-{attempt}-pod-{index}.stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, *command[1:]],
                cwd=container["workingDir"].replace(mount, str(node)),
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | variables,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        return Pod(index, node, process)

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
            if failed:
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
        code = failed[0].process.returncode
        return 128 - code if code < 0 else code

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
