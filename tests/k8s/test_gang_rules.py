"""Our rules against what the server says to the same mistake.

Beside each mistake stands the message and how far it is known. RUN: a control plane of Kubernetes 1.36 with JobSet
0.8.2 refused such a manifest; its words were not written down and are those of the source. KUBERNETES and JOBSET: only
read in the source (pkg/apis/batch/validation, pkg/apis/core/validation; pkg/webhooks/jobset_webhook.go). CLIENT: what
the Python client says, which a test here asks. TAKEN: a server takes it and the training goes wrong, as a run showed
where that is said.
"""

import copy
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from kubernetes import client

from k8s.gang_manifests import gang_manifests
from k8s.gang_rules import ManifestError, faults_of, require_sound
from k8s.profile import load_profile
from tests.k8s.gangs import GANGS, gang

Change = Callable[[Any], object]
RUN, KUBERNETES, JOBSET, CLIENT, TAKEN = "run", "kubernetes", "jobset", "client", "taken"


def sound(profile: str = "a100-64x8") -> list[dict[str, Any]]:
    return gang_manifests(load_profile(profile), GANGS[profile])


def job(manifest: Any) -> Any:
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]


def pod(manifest: Any) -> Any:
    return job(manifest)["template"]["spec"]


def container(manifest: Any) -> Any:
    return pod(manifest)["containers"][0]


def pod_rule(manifest: Any) -> Any:
    return job(manifest)["podFailurePolicy"]["rules"][0]


def set_rule(manifest: Any) -> Any:
    return manifest["spec"]["failurePolicy"]["rules"][0]


JOB = "spec.replicatedJobs[0].template.spec"
POD = f"{JOB}.template.spec"
GPU = "nvidia.com/gpu"

MISTAKES: dict[str, tuple[Change, str, str, str]] = {
    "an action that there is not": (
        lambda one: pod_rule(one).update(action="Fail"),
        f"{JOB}.podFailurePolicy.rules[0].action: 'Fail' is none of Count, FailIndex, FailJob, Ignore",
        'spec.podFailurePolicy.rules[0].action: Unsupported value: "Fail": supported values: "Count", "FailIndex", '
        '"FailJob", "Ignore"',
        RUN,
    ),
    "OnFailure with a pod failure policy": (
        lambda one: pod(one).update(restartPolicy="OnFailure"),
        f"{POD}.restartPolicy: 'OnFailure' excludes podFailurePolicy; set Never",
        'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when '
        "podFailurePolicy is specified",
        RUN,
    ),
    "half a GPU": (
        lambda one: [side.update({GPU: "0.5"}) for side in container(one)["resources"].values()],
        f"{POD}.containers[0].resources.limits.{GPU}: '0.5' is a part of a device; write a whole number",
        'spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: "500m": must be an integer',
        RUN,
    ),
    "an index that there is not": (
        lambda one: job(one).update(successPolicy={"rules": [{"succeededIndexes": "0-64"}]}),
        f"{JOB}.successPolicy.rules[0].succeededIndexes: index 64 is not below 64 completions",
        'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0-64": error parsing succeededIndexes: '
        'too large index: "64"',
        RUN,
    ),
    "exit code 0": (
        lambda one: pod_rule(one)["onExitCodes"].update(values=[0]),
        f"{JOB}.podFailurePolicy.rules[0].onExitCodes.values: [0] must be some, in order, each once, and not 0 with In",
        "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        KUBERNETES,
    ),
    "a container that there is not": (
        lambda one: pod_rule(one)["onExitCodes"].update(containerName="main"),
        f"{JOB}.podFailurePolicy.rules[0].onExitCodes.containerName: 'main' is none of trainer",
        'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "main": must be one of the container '
        "or initContainer names in the pod template",
        KUBERNETES,
    ),
    "both kinds of failure in one rule": (
        lambda one: pod_rule(one).update(onPodConditions=[{"type": "DisruptionTarget", "status": "True"}]),
        f"{JOB}.podFailurePolicy.rules[0].onExitCodes: a rule asks for exit codes or for conditions of the pod",
        "spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not "
        "supported",
        KUBERNETES,
    ),
    "a pod replaced before it has failed": (
        lambda one: job(one).update(podReplacementPolicy="TerminatingOrFailed"),
        f"{JOB}.podReplacementPolicy: 'TerminatingOrFailed' excludes podFailurePolicy; set Failed",
        'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"',
        KUBERNETES,
    ),
    "an Indexed Job without a size": (
        lambda one: job(one).pop("completions"),
        f"{JOB}.completions: an Indexed Job needs them",
        "spec.completions: Required value: when completion mode is Indexed",
        KUBERNETES,
    ),
    "seconds of a taint that evicts nobody": (
        lambda one: pod(one)["tolerations"][-1].update(effect="NoSchedule"),
        f"{POD}.tolerations[2].effect: 'NoSchedule' excludes tolerationSeconds; set NoExecute",
        "spec.tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
        "`tolerationSeconds` is set",
        KUBERNETES,
    ),
    "a request that is not the limit": (
        lambda one: container(one)["resources"]["requests"].update({GPU: "4"}),
        f"{POD}.containers[0].resources.requests.{GPU}: '4' is not the limit, '8'; give the same",
        'spec.template.spec.containers[0].resources.requests: Invalid value: "4": must be equal to nvidia.com/gpu '
        "limit of 8",
        KUBERNETES,
    ),
    "a mount of nothing": (
        lambda one: pod(one)["volumes"].pop(0),
        f"{POD}.containers[0].volumeMounts: 'workspace' is no volume of the pod; there are ['scratch', 'shm']",
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "workspace"',
        KUBERNETES,
    ),
    "a rule's name with a hyphen": (
        lambda one: set_rule(one).update(name="config-error"),
        "spec.failurePolicy.rules[0].name: 'config-error' may have letters, digits and '_,:', a letter first; no '-'",
        "invalid failure policy rule name 'config-error', a failure policy rule name must start with an alphabetic "
        "character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an "
        "alphanumeric character or '_'",
        RUN,
    ),
    "a rule's name given twice": (
        lambda one: one["spec"]["failurePolicy"]["rules"].append(copy.deepcopy(set_rule(one))),
        "spec.failurePolicy.rules[1].name: 'mistake' is there twice",
        "rule names are not unique, rules with indices [0 1] all have the same name 'mistake'",
        JOBSET,
    ),
    "a replicated Job that there is not": (
        lambda one: set_rule(one).update(targetReplicatedJobs=["workers"]),
        "spec.failurePolicy.rules[0].targetReplicatedJobs: 'workers' is none of trainer",
        "invalid replicatedJob name 'workers' in failure policy does not appear in .spec.ReplicatedJobs",
        JOBSET,
    ),
    "a reason that there is not": (
        lambda one: set_rule(one).update(onJobFailureReasons=["Evicted"]),
        "spec.failurePolicy.rules[0].onJobFailureReasons: 'Evicted' is none of BackoffLimitExceeded, ",
        "invalid job failure reason 'Evicted' in failure policy is not a recognized job failure reason",
        JOBSET,
    ),
    "an action of the set that there is not": (
        lambda one: set_rule(one).update(action="FailJob"),
        "spec.failurePolicy.rules[0].action: 'FailJob' is none of FailJobSet, RestartJobSet, ",
        'spec.failurePolicy.rules[0].action: Unsupported value: "FailJob": supported values: "FailJobSet", '
        '"RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"',
        JOBSET,
    ),
    "a name whose pods' names are too long": (
        lambda one: one["metadata"].update(name="x" * 46),
        f"metadata.name: {'x' * 46!r} makes '{'x' * 46}-trainer-0-63-abcde' of 65 characters, of which 63 are allowed",
        "JobSet name is too long, pod names generated for this JobSet will exceed 63 characters",
        JOBSET,
    ),
    "a name with capitals": (
        lambda one: one["metadata"].update(name="Run"),
        "metadata.name: 'Run' may have lower-case letters, digits and '-', a letter first; name it so",
        'metadata.name: Invalid value: "Run": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
        "characters, '-' or '.', and must start and end with an alphanumeric character",
        KUBERNETES,
    ),
    "a number for a quantity": (
        lambda one: [side.update({GPU: 8}) for side in container(one)["resources"].values()],
        f'{POD}.containers[0].resources.limits.{GPU}: 8 is a number, which the client refuses; write "8"',
        "Input should be a valid string",
        CLIENT,
    ),
    "an image by tag": (
        lambda one: container(one).update(image="registry.example.com/starloom-training:latest"),
        f"{POD}.containers[0].image: 'registry.example.com/starloom-training:latest' does not name its bytes",
        "two restarts of a run may compute with two images",
        TAKEN,
    ),
    "a disruption that is ignored": (
        lambda one: job(one)["podFailurePolicy"]["rules"].append(
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        ),
        f"{JOB}.podFailurePolicy.rules[1].action: Ignore makes one pod anew while the ranks of the others hang",
        "run: the Job survived and the index was recreated, alone",
        TAKEN,
    ),
    "success of rank 0 alone": (
        lambda one: job(one).update(successPolicy={"rules": [{"succeededIndexes": "0"}]}),
        f"{JOB}.successPolicy.rules[0].succeededIndexes: ends the Job before the other pods are done",
        "run: the Job ended when 61 of 64 pods had succeeded",
        TAKEN,
    ),
    "a retry of one pod": (
        lambda one: job(one).update(backoffLimit=6),
        f"{JOB}.backoffLimit: 6 makes one pod anew while the others wait for the dead; set 0",
        "the Job makes the pod anew six times",
        TAKEN,
    ),
    "fewer pods at a time than there are": (
        lambda one: job(one).update(parallelism=32),
        f"{JOB}.parallelism: 32 of 64 pods run at a time, and a gang needs all of them at once",
        "32 pods wait for 32 that are never made",
        TAKEN,
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_before_the_server_does(mistake: str) -> None:
    change, ours, _, _ = MISTAKES[mistake]
    (manifest,) = sound()
    change(manifest)
    faults = faults_of(manifest)
    assert [fault for fault in faults if fault.startswith(ours)], faults
    with pytest.raises(ManifestError, match=r"^JobSet [a-zA-Z0-9-]+: "):
        require_sound([manifest])


@pytest.mark.parametrize(
    "mistake",
    ["an action that there is not", "half a GPU", "OnFailure with a pod failure policy", "an index that there is not"],
)
def test_the_offline_validator_lets_it_pass(mistake: str) -> None:
    (manifest,) = sound()
    MISTAKES[mistake][0](manifest)
    alone = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}, "spec": job(manifest)}
    kubernetes_validate.validate(alone, "1.36", strict=True)


def test_the_client_refuses_a_number_for_a_quantity() -> None:
    with pytest.raises(ValueError, match=MISTAKES["a number for a quantity"][2]):
        client.V1ResourceRequirements(limits={GPU: 8})  # pyright: ignore[reportArgumentType]


def test_every_fault_is_told() -> None:
    (manifest,) = sound()
    container(manifest)["image"] = "training"
    job(manifest)["backoffLimit"] = 1
    with pytest.raises(ManifestError, match=r"backoffLimit: 1 .*; .*image: 'training'"):
        require_sound([manifest])


def test_the_longest_name_that_the_gang_can_have_is_taken() -> None:
    profile = load_profile("a100-64x8")
    assert faults_of(gang_manifests(profile, gang("x" * 44, 64, 8, 1, None))[0]) == []
    assert faults_of(gang_manifests(profile, gang("x" * 45, 64, 8, 1, None))[0]) != []
