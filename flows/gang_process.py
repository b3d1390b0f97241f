"""python -m flows.gang_process PROFILE NAME REQUEST.json --parent PID: stands for ranks that run on a cluster.

To `model.launcher` it is a rank that speaks for all: reports on standard output, a rank's exit codes. The gang outlives
it. When it is asked to end, or its parent is gone, the gang goes on and the next run adopts it; only a run that a
person has cancelled takes its gang along. Nodes that are lost and do not come back make it go on with fewer, where the
profile says so.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from uuid import UUID

from components.errors import StarloomError
from components.event_stream import StepEvents
from components.settings import Settings
from components.training.on_pods import Deal, deals, for_pods, is_finished, read_training, write_training
from components.workspace import workspace_id
from flows.cluster_plan import gang_of
from flows.cluster_run import FLOW_RUN_VARIABLE, TASK_RUN_VARIABLE, open_connection
from flows.gang_page import GangPage, is_being_cancelled
from flows.gang_reports import GangReports
from flows.plan_run import hardware_of, known_profile
from k8s.cluster_launcher import Connection, Gang, gang_named
from k8s.cluster_profile import Shrink
from k8s.failure_rules import MISTAKE_EXIT_CODE, PREEMPTED_EXIT_CODE
from k8s.gang_manifests import GangError
from k8s.gang_rules import ManifestError
from k8s.profile import Profile
from k8s.request import (
    Cancelled,
    ClusterError,
    Evicted,
    GangOutcome,
    GangRequest,
    GangStatus,
    Preempted,
    Succeeded,
    UserError,
)

_FAILED, _TRAINING_FAILED, _PREEMPTED, _MISTAKE = 1, "TrainingFailedError", "TrainingPreemptedError", "RequestError"


class _Ending(BaseException):
    """This process was asked to end."""


class _RoomWatch:
    """Cancels a gang whose pods have waited for nodes too long. Time in the queue does not count."""

    def __init__(self, pods: int, after_seconds: float | None, give_up: Callable[[], None]) -> None:
        self._pods = pods
        self._after_seconds = after_seconds
        self._give_up = give_up
        self._timer: threading.Timer | None = None
        self.gave_up = False

    def see(self, status: GangStatus) -> None:
        """Start waiting, go on waiting, or stop."""
        has_room = status.is_suspended or sum(pod.node is not None for pod in status.pods) >= self._pods
        if has_room:
            self.stop()
        elif self._timer is None and self._after_seconds is not None:
            self._timer = threading.Timer(self._after_seconds, self._end)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """It has its nodes, or is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self.gave_up = True
        try:
            self._give_up()
        except ClusterError as error:  # whoever follows sees that it is deleted, or meets the same
            print(error, file=sys.stderr)


class ClusterTraining:
    """A training on a cluster: its gang, and those that follow it with fewer nodes."""

    def __init__(self, profile: Profile, name: str, request_file: Path, settings: Settings) -> None:
        self._profile = profile
        self._name = name
        self._request = read_training(request_file)
        self._settings = settings
        self._page = _page(name)
        self.reports = GangReports(StepEvents(sys.stdout.fileno()), self._request.work_dir, self._show)
        self.gang: Gang | None = None
        """The one at work."""

    def _show(self, status: GangStatus) -> None:
        if self._page:
            self._page.show(status)

    def run(self, connection: Connection) -> GangOutcome:
        """To the end. ClusterError, GangError and ManifestError as `submit` and `Gang.follow`; StarloomError else."""
        hardware = hardware_of(self._profile, self._request.pretrain.layout.world_size)
        shrink = self._profile.cluster.shrink if self._profile.cluster else None
        left = list(deals(self._request, hardware, shrink.min_nodes if shrink else None))
        left = left[self._begin_at(connection, left) :]
        outcome = None
        while outcome is None:
            deal = left.pop(0)
            outcome = self._run_deal(connection, deal, shrink if left else None)
            if outcome is None:
                self.reports.note(f"lost nodes did not come back; goes on with {left[0].told}")
        return outcome

    def _begin_at(self, connection: Connection, left: list[Deal]) -> int:
        """The deal that is at work already, else the first; what is left of the others is removed."""
        gangs = [gang_named(connection, self._profile, self._asked(deal)) for deal in left]
        chosen = next((number for number, gang in enumerate(gangs) if gang.is_kept()), 0)
        self.gang = gangs[chosen]
        for number, gang in enumerate(gangs):
            if number != chosen and gang.observed() is not None:
                gang.remove()  # two in one working directory would meet each other's lock
        return chosen

    def _run_deal(self, connection: Connection, deal: Deal, shrink: Shrink | None) -> GangOutcome | None:
        """None if there was no room for it, and there may be for fewer."""
        asked = self._asked(deal)
        path = self._settings.state_dir / "gangs" / asked.name / "request.json"
        write_training(for_pods(deal.request, self._settings.workspace), path)
        gang = self._submit(connection, asked)
        outcome = self._follow(gang, asked, shrink)
        if isinstance(outcome, Succeeded) and gang.was_adopted and not is_finished(self._request):
            gang.remove()  # it ended when nobody was there, and what it wrote was cleared away: its checkpoint is there
            outcome = self._follow(self._submit(connection, asked), asked, shrink)
        if isinstance(outcome, Succeeded):
            if not is_finished(self._request):
                raise StarloomError(
                    f"{asked.name} ended well and its artifact is not in {self._request.out}: its pods see another "
                    "workspace; see where the claim of storage.workspace_claim leads"
                )
            if gang.kind == "Job":
                gang.remove()  # else its service would stay
        return outcome

    def _asked(self, deal: Deal) -> GangRequest:
        pretrain = deal.request.pretrain
        name = self._name if deal.request == self._request else f"{self._name}-d{pretrain.layout.data}"
        owner = workspace_id(self._settings)
        return gang_of(pretrain.threads_per_process, self._profile, deal.placement, name, owner)

    def _submit(self, connection: Connection, asked: GangRequest) -> Gang:
        self.gang = gang_named(connection, self._profile, asked)
        self.gang.submit()
        verb = "goes on following" if self.gang.was_adopted else "submitted"
        self.reports.note(f"{verb} {self.gang.kind} {self.gang.name} in {self.gang.namespace}, {asked.nodes} pods")
        return self.gang

    def _follow(self, gang: Gang, asked: GangRequest, shrink: Shrink | None) -> GangOutcome | None:
        room = _RoomWatch(asked.nodes, shrink.after_seconds if shrink else None, gang.cancel)

        def see(status: GangStatus) -> None:
            room.see(status)
            self.reports.status(status, asked.processes_per_node)

        try:
            outcome = gang.follow(on_line=self.reports.line, on_status=see)
        finally:
            room.stop()
            self.reports.keep()
            if self._page:
                self._page.flush()
        return None if room.gave_up and isinstance(outcome, Cancelled) else outcome


def _page(name: str) -> GangPage | None:
    flow_run, task_run = os.environ.get(FLOW_RUN_VARIABLE), os.environ.get(TASK_RUN_VARIABLE)
    return GangPage(name, UUID(flow_run), UUID(task_run) if task_run else None) if flow_run else None


def exit_code_of(outcome: GangOutcome, reports: GangReports) -> int:
    """As a rank's, with its last word told."""
    heard = reports.failure
    match outcome:
        case Succeeded():
            return 0
        case UserError():
            told = (heard["kind"], heard["text"]) if heard else (_MISTAKE, outcome.told)
            code = MISTAKE_EXIT_CODE
        case Preempted() | Evicted():
            told, code = (_PREEMPTED, outcome.told), PREEMPTED_EXIT_CODE
        case Cancelled():
            told, code = (_TRAINING_FAILED, "somebody deleted it on the cluster; run again to go on"), _FAILED
        case _:
            why = f": {heard['text']}" if heard else ""
            told, code = (_TRAINING_FAILED, f"{outcome.told}{why}"), _FAILED
    reports.failed(*told)
    return code


def main(arguments: Sequence[str]) -> int:
    """Run the training on the cluster to its end, or leave it there."""
    parser = argparse.ArgumentParser(prog="python -m flows.gang_process")
    parser.add_argument("profile")
    parser.add_argument("name", help="of the gang")
    parser.add_argument("request", type=Path)
    parser.add_argument("--parent", type=int, required=True, help="whose pipe is our standard input")
    asked = parser.parse_args(arguments)
    training = None
    try:
        signal.signal(signal.SIGTERM, _end)
        threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
        settings = Settings.from_environment()
        profile = known_profile(asked.profile, settings.workspace)
        training = ClusterTraining(profile, asked.name, asked.request, settings)
        return exit_code_of(training.run(open_connection(profile)), training.reports)
    except _Ending:
        return _leave(training)
    except (ClusterError, GangError, ManifestError, StarloomError) as error:
        StepEvents(sys.stdout.fileno()).failed(_TRAINING_FAILED, str(error))
        return _FAILED


def _end(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ending


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(training: ClusterTraining | None) -> int:
    """The gang goes on without us, unless the run was cancelled."""
    gang = training.gang if training else None
    if training is None or gang is None:
        return PREEMPTED_EXIT_CODE
    flow_run = os.environ.get(FLOW_RUN_VARIABLE)
    goes_on = (
        f"{gang.kind} {gang.name} goes on in {gang.namespace}; run again to follow it, or end it: "
        f"kubectl -n {gang.namespace} delete {gang.kind.lower()} {gang.name}"
    )
    told = goes_on
    if flow_run and is_being_cancelled(UUID(flow_run)):
        try:
            gang.cancel()
            told = f"the run was cancelled, and {gang.name} with it"
        except ClusterError as error:
            told = f"{error}; {goes_on}"
    training.reports.failed(_PREEMPTED, told)
    return PREEMPTED_EXIT_CODE


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # threads that wait for an API server which is away would hold it up
