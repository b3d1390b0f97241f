"""What is asked of a launcher, and what came of it.

A request is a command with resources: nothing here knows what the command does, so a launcher is tested with `echo`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class ClusterError(Exception):
    """The cluster refuses or does not answer; one sentence with the mend."""


@dataclass(frozen=True)
class JobRequest:
    """One command to run. A launcher that cannot reserve resources runs it all the same."""

    name: str
    command: tuple[str, ...]
    """The program and its arguments; never a shell string."""
    working_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables set beside those the job finds where it runs."""
    cpus: int = 1
    gpus: int = 0
    memory_gib: int = 4


@dataclass(frozen=True)
class Volume:
    """A claim that the pods of a gang see, beside what their profile gives them."""

    claim: str
    mount_path: str
    read_only: bool


@dataclass(frozen=True)
class GangRequest:
    """One program in several pods that start together and end together."""

    name: str
    """An RFC 1035 label; that of the recipe, so that what is asked twice is one thing."""
    agent: tuple[str, ...]
    """Starts the processes of a pod; takes torchrun's options, and comes before them. Empty: the command is all."""
    command: tuple[str, ...]
    """What each process runs: with an agent as torchrun takes it, `-m MODULE ARGUMENTS`."""
    nodes: int
    """Pods; each has a node's devices."""
    processes_per_node: int
    close_pods: int = 1
    """So many pods that follow one another speak most with each other, and belong into one block."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    checkpoint_store: str | None = None
    """s3://bucket/prefix."""
    is_restarted: bool = True
    """Whether all pods are made anew when one fails, as often as the profile says."""
    volumes: tuple[Volume, ...] = ()


@dataclass(frozen=True)
class Succeeded:
    """The command ended with exit code 0."""


@dataclass(frozen=True)
class Failed:
    """The command ended by itself, not well."""

    exit_code: int
    """As the shell counts: 128 + n when signal n ended it."""
    last_lines: tuple[str, ...]
    """The end of what it said, oldest first."""


@dataclass(frozen=True)
class Cancelled:
    """The command was ended because we asked for it."""


JobOutcome = Succeeded | Failed | Cancelled


@dataclass(frozen=True)
class UserError:
    """A person must mend something first: the same again would fail again."""

    told: str
    """One sentence, as in the other outcomes."""


@dataclass(frozen=True)
class Infrastructure:
    """A process died, a node was lost, or nobody knows: the same again may go well, from the last checkpoint."""

    told: str
    exit_code: int | None = None
    """Of the pod that failed first, if it ended by itself; 137 if its memory ran out."""


@dataclass(frozen=True)
class Preempted:
    """It had to make room for something more urgent, or was asked to end, and saved its work."""

    told: str


@dataclass(frozen=True)
class Evicted:
    """A node was drained or ran short of something."""

    told: str


@dataclass(frozen=True)
class TimedOut:
    """It was not over in the time that it was given."""

    told: str


GangOutcome = Succeeded | UserError | Infrastructure | Preempted | Evicted | TimedOut | Cancelled


@dataclass(frozen=True)
class PodPlace:
    """Where a pod of a gang is."""

    index: int
    name: str
    node: str | None
    """None until it has one."""
    phase: str
    """Kubernetes' own word: Pending, Running, Succeeded, Failed."""
    waits_for: str | None
    """Why it does not run yet, in the cluster's words."""
    held_since: float | None = None
    """When it got its node's devices, in seconds since the epoch."""
    held_until: float | None = None
    """When it gave them back; None while it has them."""


@dataclass(frozen=True)
class GangStatus:
    """What a person wants to see of a gang at work."""

    is_suspended: bool
    """It waits in its queue."""
    restarts: int
    pods: tuple[PodPlace, ...]
    """By index; those that are being removed are left out."""
    leaving: tuple[PodPlace, ...] = ()
    """Pods that are being removed: they have their devices until they have ended."""
    waits_for: str | None = None
    """Why pods are not there, in the cluster's words: what the queue lacks, or which quota forbids them."""
