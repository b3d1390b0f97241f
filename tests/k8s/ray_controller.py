"""Plays KubeRay for the tests: takes RayJobs from the stand-in and runs their entrypoints on a real Ray cluster.

It is no KubeRay. One cluster of this machine serves all RayJobs, where each would get its own; what a pod's environment
is, the job gets as its own; and the workspace is not mounted but named. What is real: the entrypoint goes through the
expansions of Kubernetes and a shell to Ray's job server, which runs it on the head; states, messages and log lines are
Ray's own, and go back in the fields and in the order in which KubeRay's controller writes them.
"""

import shlex
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from k8s.pod import WORKSPACE
from tests.k8s.api_stand_in import ApiStandIn

_POLL_SECONDS = 0.2
_ENDS = {"SUCCEEDED", "FAILED", "STOPPED"}


class RayController:
    """Works until it is stopped; `jobs_url` is Ray's job server."""

    def __init__(self, api: ApiStandIn, jobs_url: str, workspace: Path) -> None:
        self._api = api
        self._jobs_url = jobs_url
        self._workspace = workspace
        self._stopping = threading.Event()
        self.ran: list[dict[str, Any]] = []
        """Manifests, in their order."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            with self._api.changed:
                new = [path for path, one in self._api.objects.items() if "/rayjobs/" in path and "status" not in one]
            for path in new:
                self._run(path)

    def _run(self, path: str) -> None:
        manifest = self._api.objects[path]
        self.ran.append(manifest)
        name, job_id = manifest["metadata"]["name"], f"{manifest['metadata']['name']}-{len(self.ran)}"
        self._api.change(path, jobDeploymentStatus="Initializing", jobId=job_id)
        asked = {
            "entrypoint": shlex.join(_through_a_shell(_expanded(manifest["spec"]["entrypoint"]))),
            "submission_id": job_id,
            "runtime_env": {"env_vars": self._environment(manifest)},
        }
        httpx.post(f"{self._jobs_url}/api/jobs/", json=asked, timeout=60).raise_for_status()
        self._api.change(path, jobDeploymentStatus="Running")
        pod = f"{path.replace('/apis/ray.io/v1', '/api/v1').rpartition('/rayjobs/')[0]}/pods/{name}-{len(self.ran)}"
        self._put_submitter(pod, manifest, "Running", {"running": {}})
        said, told = 0, ""
        while not self._stopping.wait(_POLL_SECONDS):
            if path not in self._api.objects:  # deleted: KubeRay stops the job, and its pods go
                httpx.post(f"{self._jobs_url}/api/jobs/{job_id}/stop", timeout=60)
                self._api.remove(pod)
                return
            info = self._ask(job_id)
            lines = self._ask(f"{job_id}/logs")["logs"].splitlines(keepends=True)
            whole = [line.rstrip("\n") for line in lines[said:] if line.endswith("\n")]
            self._api.say(pod.rpartition("/")[2], *whole)
            said += len(whole)
            if info["status"] != told:
                told = info["status"]
                with suppress(KeyError):
                    self._api.change(path, jobStatus=told, message=info["message"])
            if told in _ENDS:
                break
        self._put_submitter(pod, manifest, "Succeeded", {"terminated": {"exitCode": 0}})
        end = {"jobDeploymentStatus": "Failed", "reason": "AppFailed"} if told == "FAILED" else {}
        with suppress(KeyError):  # whoever submitted it may have removed it by now
            self._api.change(path, **({"jobDeploymentStatus": "Complete"} | end))

    def _environment(self, manifest: dict[str, Any]) -> dict[str, str]:
        """Of the head's container; the mount of the workspace is this machine's directory."""
        (head,) = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
        values = {one["name"]: _expanded(one["value"]) for one in head["env"]}
        return {key: str(self._workspace) if value == WORKSPACE else value for key, value in values.items()}

    def _put_submitter(self, path: str, manifest: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        template = manifest["spec"]["submitterPodTemplate"]
        metadata = template["metadata"] | {"name": path.rpartition("/")[2]}
        status = {"phase": phase, "containerStatuses": [{"name": "submitter", "state": state}]}
        self._api.put(path, {"metadata": metadata, "spec": template["spec"], "status": status})

    def _ask(self, what: str) -> Any:
        return httpx.get(f"{self._jobs_url}/api/jobs/{what}", timeout=60).raise_for_status().json()


def _expanded(text: str) -> str:
    """As the kubelet does it where no variable is named: two signs stand for one."""
    return text.replace("$$", "$")


def _through_a_shell(command: str) -> list[str]:
    """The arguments that `ray job submit -- COMMAND` gets from the submitter's bash."""
    done = subprocess.run(["bash", "-ec", f"printf '%s\\0' {command}"], capture_output=True, check=True, text=True)
    return done.stdout.split("\0")[:-1]


def process_at_work(title: str) -> psutil.Process | None:
    """One of our descendants whose command line begins so."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                return process
    return None
