"""How long the pods of a training have held their devices, over all its gangs and whoever followed them."""

import json
import sys
import time
from pathlib import Path

from components.attempts import write_held_seconds
from components.errors import StarloomError
from k8s.request import GangStatus


class HeldDevices:
    """Devices times seconds by pod, from the pods' own times: those that nobody watched count too.

    A pod that vanishes between two looks has held its devices until the last.
    """

    def __init__(self, work_dir: Path) -> None:
        """The figure of each pod is kept in `work_dir`, and their sum, which the step's cost is taken from."""
        self._notes = work_dir / "held.json"
        self._work_dir = work_dir
        self._held: dict[str, float] = read_numbers(self._notes)
        self._running: dict[str, tuple[float, int]] = {}
        """Since when, and how many."""

    def see(self, status: GangStatus, devices_per_pod: int) -> None:
        """Take the pods as they are."""
        self._count()
        self._running = {}
        for pod in (*status.pods, *status.leaving):
            if pod.held_since is None:
                continue
            if pod.held_until is None:
                self._running[pod.name] = (pod.held_since, devices_per_pod)
            else:
                self._held[pod.name] = max(0.0, pod.held_until - pod.held_since) * devices_per_pod
        self._count()

    def _count(self) -> None:
        now = time.time()
        self._held |= {name: max(0.0, now - since) * devices for name, (since, devices) in self._running.items()}

    def keep(self) -> None:
        """Write it down. A disk that does not take it costs a figure, no training."""
        self._count()
        write_numbers(self._held, self._notes)
        try:
            write_held_seconds(self._work_dir, sum(self._held.values()))
        except StarloomError as error:
            print(error, file=sys.stderr)


def read_numbers(path: Path) -> dict[str, float]:
    """By name; none if there is no such file, or it is damaged."""
    try:
        return {str(name): float(number) for name, number in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_numbers(numbers: dict[str, float], path: Path) -> None:
    """For `read_numbers`; a disk that does not take them is told."""
    try:
        path.write_text(json.dumps(numbers))
    except OSError as error:
        print(f"{path} cannot be written: {error.strerror}", file=sys.stderr)
