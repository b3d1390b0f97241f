"""What a cluster would refuse, or take and get wrong, told before anything is sent.

Offline validators know fields and types. They let pass what only the API server and JobSet's webhook look at: values of
an enumeration, whole GPUs, fields that exclude each other, names that become too long; and nobody else knows what a
gang must not do. Each fault is one sentence that begins with the path of the value.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

Manifest = dict[str, Any]

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_RULE_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?")
_QUANTITY = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_BY_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_MOST_NAME_CHARS = 63
_POD_SUFFIX = "-abcde"
"""Five characters that Kubernetes draws."""
_BY_PARTS = {"cpu", "memory", "ephemeral-storage"}
"""Resources of which a pod may have a fraction."""

_ENUMERATIONS = {
    "completionMode": {"Indexed", "NonIndexed"},
    "podReplacementPolicy": {"Failed", "TerminatingOrFailed"},
    "restartPolicy": {"Always", "OnFailure", "Never"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "effect": {"NoSchedule", "PreferNoSchedule", "NoExecute"},
    "medium": {"", "Memory"},
    "restartStrategy": {"Recreate", "BlockingRecreate"},
}
"""By the name of the field, wherever it stands in what we send."""
_POD_ACTIONS = {"Count", "FailIndex", "FailJob", "Ignore"}
_SET_ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}
_JOB_FAILURES = {
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
}
"""Reasons that a failed Job gives."""


class ManifestError(Exception):
    """A cluster would not do with this manifest what is meant."""


def require_sound(manifests: list[Manifest]) -> None:
    """ManifestError with every fault of the manifests."""
    faults = [f"{one['kind']} {one['metadata']['name']}: {fault}" for one in manifests for fault in faults_of(one)]
    if faults:
        raise ManifestError("; ".join(faults))


def faults_of(manifest: Manifest) -> list[str]:
    """Of a JobSet, a Job or a Service; empty if it is sound."""
    faults = [*_names(manifest), *_enumerations(manifest, "")]
    for path, job in _jobs(manifest):
        for rule in _JOB_RULES:
            faults += [f"{path}{fault}" for fault in rule(job)]
    if manifest["kind"] == "JobSet":
        faults += _set_rules(manifest["spec"])
    return faults


def _jobs(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Path and spec of every Job in it."""
    if manifest["kind"] == "Job":
        yield "spec.", manifest["spec"]
    if manifest["kind"] == "JobSet":
        for number, replicated in enumerate(manifest["spec"]["replicatedJobs"]):
            yield f"spec.replicatedJobs[{number}].template.spec.", replicated["template"]["spec"]


def _names(manifest: Manifest) -> Iterator[str]:
    name = manifest["metadata"]["name"]
    if not _DNS_LABEL.fullmatch(name):
        yield f"metadata.name: {name!r} may have lower-case letters, digits and '-', a letter first; name it so"
    longest = max(_pod_names(manifest), key=len, default=name)
    if len(longest) > _MOST_NAME_CHARS:
        yield (
            f"metadata.name: {name!r} makes {longest!r} of {len(longest)} characters, of which {_MOST_NAME_CHARS} are "
            "allowed; shorten it"
        )
    for key, value in manifest["metadata"].get("labels", {}).items():
        if not _LABEL_VALUE.fullmatch(value) or len(value) > _MOST_NAME_CHARS:
            yield f"metadata.labels: {key} is {value!r}, which is no label; shorten it to {_MOST_NAME_CHARS} characters"


def _pod_names(manifest: Manifest) -> Iterator[str]:
    """The longest of each Job."""
    name = manifest["metadata"]["name"]
    if manifest["kind"] == "Job":
        yield f"{name}-{manifest['spec'].get('completions', 1) - 1}{_POD_SUFFIX}"
    if manifest["kind"] == "JobSet":
        for one in manifest["spec"]["replicatedJobs"]:
            last_pod = one["template"]["spec"].get("completions", 1) - 1
            yield f"{name}-{one['name']}-{one.get('replicas', 1) - 1}-{last_pod}{_POD_SUFFIX}"


def _enumerations(value: Any, path: str) -> Iterator[str]:
    """Every field whose name has a table, however deep."""
    if isinstance(value, list):
        for number, inner in enumerate(value):  # pyright: ignore[reportUnknownVariableType]
            yield from _enumerations(inner, f"{path}[{number}]")
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            here = f"{path}.{key}" if path else str(key)
            if key in _ENUMERATIONS and isinstance(inner, str):
                yield from _not_among(inner, _ENUMERATIONS[key], here)
            yield from _enumerations(inner, here)


def _not_among(value: Any, allowed: set[str], path: str) -> Iterator[str]:
    if value not in allowed:
        yield f"{path}: {value!r} is none of {', '.join(sorted(filter(None, allowed)))}"


def _completions(job: Manifest) -> Iterator[str]:
    completions, parallelism = job.get("completions"), job.get("parallelism")
    if job.get("completionMode") == "Indexed" and completions is None:
        yield "completions: an Indexed Job needs them"
    if completions != parallelism:
        yield f"parallelism: {parallelism} of {completions} pods run at a time, and a gang needs all of them at once"
    if job.get("backoffLimit") != 0:
        yield f"backoffLimit: {job.get('backoffLimit')} makes one pod anew while the others wait for the dead; set 0"


def _success_policy(job: Manifest) -> Iterator[str]:
    for number, rule in enumerate(job.get("successPolicy", {}).get("rules", ())):
        path = f"successPolicy.rules[{number}].succeededIndexes"
        last = max((int(index) for index in re.findall(r"\d+", rule.get("succeededIndexes", ""))), default=0)
        if last >= job.get("completions", 1):
            yield f"{path}: index {last} is not below {job.get('completions')} completions"
        yield f"{path}: ends the Job before the other pods are done; leave successPolicy out, all of a gang must finish"


def _pod_failure_policy(job: Manifest) -> Iterator[str]:
    policy = job.get("podFailurePolicy")
    if policy is None:
        return
    pod = job["template"]["spec"]
    if pod.get("restartPolicy") != "Never":
        yield f"template.spec.restartPolicy: {pod.get('restartPolicy')!r} excludes podFailurePolicy; set Never"
    if job.get("podReplacementPolicy", "Failed") != "Failed":
        yield f"podReplacementPolicy: {job['podReplacementPolicy']!r} excludes podFailurePolicy; set Failed"
    containers = {container["name"] for container in pod["containers"]}
    for number, rule in enumerate(policy["rules"]):
        for fault in _pod_failure_rule(rule, containers):
            yield f"podFailurePolicy.rules[{number}].{fault}"


def _pod_failure_rule(rule: Manifest, containers: set[str]) -> Iterator[str]:
    yield from _not_among(rule.get("action"), _POD_ACTIONS, "action")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions", [])
    if bool(codes) == bool(conditions):
        yield "onExitCodes: a rule asks for exit codes or for conditions of the pod, for one of them"
    if codes:
        yield from _not_among(codes.get("operator"), {"In", "NotIn"}, "onExitCodes.operator")
        if codes.get("containerName") not in {None, *containers}:
            yield f"onExitCodes.containerName: {codes['containerName']!r} is none of {', '.join(sorted(containers))}"
        values = codes.get("values", [])
        if not values or values != sorted(set(values)) or (codes.get("operator") == "In" and 0 in values):
            yield f"onExitCodes.values: {values} must be some, in order, each once, and not 0 with In"
    is_disruption = any(condition.get("type") == "DisruptionTarget" for condition in conditions)
    if is_disruption and rule.get("action") == "Ignore":
        yield "action: Ignore makes one pod anew while the ranks of the others hang in a collective; leave the rule out"


def _containers(job: Manifest) -> Iterator[str]:
    pod = job["template"]["spec"]
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for number, container in enumerate(pod["containers"]):
        path = f"template.spec.containers[{number}]"
        if not _BY_DIGEST.fullmatch(container["image"]):
            yield f"{path}.image: {container['image']!r} does not name its bytes; give it by digest, NAME@sha256:..."
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"{path}.volumeMounts: {mount['name']!r} is no volume of the pod; there are {sorted(volumes)}"
        for fault in _resources(container.get("resources", {})):
            yield f"{path}.resources.{fault}"


def _resources(resources: Manifest) -> Iterator[str]:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for kind, quantities in (("limits", limits), ("requests", requests)):
        for name, quantity in quantities.items():
            if not isinstance(quantity, str):
                yield f'{kind}.{name}: {quantity!r} is a number, which the client refuses; write "{quantity}"'
            elif not _QUANTITY.fullmatch(quantity):
                yield f"{kind}.{name}: {quantity!r} is no quantity; write a number and Ki, Mi or Gi"
            elif name not in _BY_PARTS and ("." in quantity or quantity.endswith("m")):
                yield f"{kind}.{name}: {quantity!r} is a part of a device; write a whole number"
    for name in sorted(limits.keys() | requests.keys()):
        if name not in _BY_PARTS and limits.get(name) != requests.get(name, limits.get(name)):
            yield f"requests.{name}: {requests.get(name)!r} is not the limit, {limits.get(name)!r}; give the same"


def _tolerations(job: Manifest) -> Iterator[str]:
    for number, toleration in enumerate(job["template"]["spec"].get("tolerations", ())):
        path = f"template.spec.tolerations[{number}]"
        yield from _not_among(toleration.get("operator", "Equal"), {"Equal", "Exists"}, f"{path}.operator")
        if toleration.get("operator") == "Exists" and toleration.get("value"):
            yield f"{path}.value: {toleration['value']!r} has no meaning with Exists; leave it out"
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            yield f"{path}.effect: {toleration.get('effect')!r} excludes tolerationSeconds; set NoExecute"


_JOB_RULES: tuple[Callable[[Manifest], Iterator[str]], ...] = (
    _completions,
    _success_policy,
    _pod_failure_policy,
    _containers,
    _tolerations,
)


def _set_rules(spec: Manifest) -> Iterator[str]:
    """Of a JobSet's failure policy, as its webhook looks at it."""
    names = [one["name"] for one in spec["replicatedJobs"]]
    seen: set[str] = set()
    for number, rule in enumerate(spec.get("failurePolicy", {}).get("rules", ())):
        path, name = f"spec.failurePolicy.rules[{number}]", rule.get("name", "")
        yield from _not_among(rule.get("action"), _SET_ACTIONS, f"{path}.action")
        if not _RULE_NAME.fullmatch(name):
            yield f"{path}.name: {name!r} may have letters, digits and '_,:', a letter first; no '-'"
        if name in seen:
            yield f"{path}.name: {name!r} is there twice"
        seen.add(name)
        for target in rule.get("targetReplicatedJobs", ()):
            yield from _not_among(target, set(names), f"{path}.targetReplicatedJobs")
        for reason in rule.get("onJobFailureReasons", ()):
            yield from _not_among(reason, _JOB_FAILURES, f"{path}.onJobFailureReasons")
