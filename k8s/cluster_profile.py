"""The cluster half of a profile: on which nodes pods run, behind which queue, and what is done when one fails.

No field has a default: the file states each constant with its source.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from k8s.pod_rules import NO_DIGEST

_DIGEST = re.compile(r"[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}")
_MESSAGE_PATTERNS_SINCE = (0, 10)
"""JobSet that knows `onJobFailureMessagePatterns`: its changelog of v0.10.0, "distinguish retriable from non
retriable Pod failure policies"."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""An RFC 1123 label, as namespaces, claims, secrets and queues are named here."""
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Quantity = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi)?$")]
"""Whole, and a string: the Kubernetes client refuses a number."""
Count = Annotated[int, Field(ge=1)]


def _require_digest(image: str) -> str:
    if not _DIGEST.fullmatch(image):
        raise PydanticCustomError(
            "image",
            "{image} does not name its bytes; give the image by digest, REGISTRY/NAME@sha256:..., since a tag may "
            "be moved to other bytes",
            {"image": repr(image)},
        )
    return image


def is_placeholder(image: str) -> bool:
    """Whether nobody has put the digest of an image there yet."""
    return image.endswith(NO_DIGEST)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Toleration(_Section):
    """A taint of the pool's nodes that pods put up with."""

    key: LabelKey
    operator: Literal["Exists", "Equal"]
    value: LabelValue | None
    """With Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None
    """None is any."""

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> "Toleration":
        if (self.value is None) == (self.operator == "Equal"):
            raise ValueError(f"operator {self.operator} and value {self.value!r} exclude each other")
        return self


class Network(_Section):
    """What joins the nodes, and what a pod must have of it."""

    kind: Literal["none", "efa", "infiniband"]
    """`none` is the pod network alone."""
    resources: dict[LabelKey, Quantity]
    """Of each pod: adapters, huge pages."""
    environment: dict[VariableName, str]

    @model_validator(mode="after")
    def _adapters_are_asked_for(self) -> "Network":
        if (self.kind == "none") != (not self.resources):
            raise ValueError(f"kind {self.kind} and resources {self.resources} exclude each other")
        return self


class NodePool(_Section):
    """Nodes of one kind. How many there are, and their devices, stand in the profile itself."""

    gpu_resource: LabelKey | None
    """What its device plugin calls a GPU; None for processors."""
    labels: dict[LabelKey, LabelValue]
    """That the nodes bear and a pod asks for."""
    tolerations: tuple[Toleration, ...]
    lost_node_seconds: Annotated[int, Field(ge=30, le=60)]
    """After how long a pod is given up whose node is not ready or not reachable; Kubernetes' own default is 300."""
    network: Network


class Queue(_Section):
    """Kueue: a set starts whole, when its quota and its place are there."""

    local_queue: Name
    priority_class: Name | None
    """A WorkloadPriorityClass."""
    priority: Annotated[int, Field(ge=0, lt=1_000_000_000)] | None
    """Of that class: the higher goes first and takes the place of the lower. All profiles say the same of a class."""
    topology_level: LabelKey | None
    """Label of nodes that are close to each other, such as a block; None if nobody labels them."""
    nodes_per_block: Count | None
    """Of the same value of that label."""

    @model_validator(mode="after")
    def _a_class_has_a_value(self) -> "Queue":
        if (self.priority_class is None) != (self.priority is None):
            raise ValueError("priority_class and priority go together; give both or neither")
        return self

    @model_validator(mode="after")
    def _blocks_have_a_size(self) -> "Queue":
        if (self.topology_level is None) != (self.nodes_per_block is None):
            raise ValueError("topology_level and nodes_per_block go together; give both or neither")
        return self


class JobSetGang(_Section):
    """A JobSet: all pods are made anew together when one fails."""

    kind: Literal["jobset"]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    """Of JobSet's controller in the cluster."""
    max_restarts: Annotated[int, Field(ge=0)]

    @property
    def tells_failures_apart(self) -> bool:
        """Whether a rule may ask for the message of a failed Job, and so need not count preemptions as restarts."""
        major, minor, _ = self.version.split(".")
        return (int(major), int(minor)) >= _MESSAGE_PATTERNS_SINCE


class IndexedJobGang(_Section):
    """An Indexed Job alone, where JobSet is not installed: no gang, and not restarted as a unit."""

    kind: Literal["indexed_job"]


class Shrink(_Section):
    """Going on with fewer nodes when lost ones do not come back."""

    after_seconds: Count
    """That pods wait for a node; time in the queue does not count."""
    min_nodes: Count
    """With fewer it waits on."""


class Storage(_Section):
    """What outlives a pod."""

    workspace_claim: Name
    """PersistentVolumeClaim with the workspace, ReadWriteMany: every pod reads its data and writes its checkpoints."""
    checkpoint_store: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9./_-]+$")] | None
    """Where checkpoints go too."""
    endpoint_url: Annotated[str, Field(pattern=r"^https?://")] | None
    """Of an S3 that is not Amazon's."""
    credentials_secret: Name | None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; None where the pod's identity opens the store."""


class Limits(_Section):
    """Of a pod; what is requested is the same, so that no neighbour takes it."""

    cpus: Count
    memory_gib: Count
    """Of its processes; shared memory comes on top."""
    shm_gib: Count
    """What its processes hand each other in memory; counts as the pod's memory."""
    scratch_gib: Count
    """Temporary files on the node's disk: beside the workspace, all that a pod can write to."""


class DataWork(_Section):
    """A Ray cluster of its own for each corpus step that works in pieces. KubeRay makes it; it goes with the step."""

    namespace: Name
    """Where flow runs are, with the accounts and the network policy of such pods (k8s/base)."""
    image: Annotated[str, AfterValidator(_require_digest)]
    """By digest: that of flow runs, which has Ray."""
    workspace_claim: Name
    """PersistentVolumeClaim with the workspace of the flow run, ReadWriteMany: every node sees it under one path."""
    min_workers: Annotated[int, Field(ge=0)]
    """Pods of the pool that are there from the beginning."""
    max_workers: Count
    """To which the pool grows while pieces wait."""
    cpus_per_worker: Count
    """As many pieces are at work in a pod."""
    memory_gib_per_worker: Count
    """Of all pieces of a pod, with what they hand each other."""
    head_memory_gib: Count
    """Of the pod in which the step itself runs: what it puts together, and Ray's books."""
    worker_labels: dict[LabelKey, LabelValue]
    """That the workers' nodes bear; empty for any node."""
    worker_tolerations: tuple[Toleration, ...]
    """Taints of those nodes, such as those of spot nodes. The head has none: with it all would be lost."""
    deadline_seconds: Count
    """After which a step is ended that is not over."""

    @model_validator(mode="after")
    def _least_is_no_more_than_most(self) -> "DataWork":
        if self.min_workers > self.max_workers:
            raise ValueError(f"min_workers {self.min_workers} is more than max_workers {self.max_workers}")
        return self

    @property
    def pieces_at_work(self) -> int:
        """When the pool is at its largest."""
        return self.max_workers * self.cpus_per_worker


class Cluster(_Section):
    """A Kubernetes cluster as we use it."""

    context: str | None
    """Of the kubeconfig; None is the current one, and in a pod of the cluster its own account."""
    namespace: Name
    service_account: Name
    """That pods run as; they get no token of it."""
    image: Annotated[str, AfterValidator(_require_digest)]
    """By digest."""
    pool: NodePool
    priority_class: Name | None
    """Of the pods, for the scheduler and the kubelet."""
    queue: Queue | None
    gang: JobSetGang | IndexedJobGang = Field(discriminator="kind")
    shrink: Shrink | None
    """None waits for nodes as long as it takes."""
    storage: Storage
    data_work: DataWork | None
    """None: the corpus is made in the pod of the flow run, or on the machine that asks."""
    limits: Limits
    grace_seconds: Annotated[int, Field(ge=30)]
    """From the request to end until the kill: for the step at work, its checkpoint, and the upload."""
    ttl_seconds: Annotated[int, Field(ge=0)]
    """How long what is finished can be looked at."""
