"""Follows a gang to its end: from what its streams tell to lines, changes of its status, and its outcome."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from k8s.gang_outcome import Observed, first_failing, has_started, index_of, of_last_attempt, outcome_of, status_of
from k8s.gang_streams import Line, Response, Streams
from k8s.gang_waiting import waits_for
from k8s.request import GangOutcome, GangStatus, Infrastructure

_LAST_LINES_SECONDS = 5.0
"""How long the end of the logs is waited for when the gang is over."""

_SETTLING_SECONDS = 0.3
"""After the end, for what other streams tell of it: they are not in step."""


class GangSource(Protocol):
    """What can be asked of a gang on a cluster. Each raises ClusterError."""

    name: str
    kind: str
    kinds: tuple[str, ...]
    """Its own, Pod and Event, and Workload if it is in a queue."""

    def list_all(self, kind: str) -> dict[str, Any]:
        """Of one of its kinds, as the API lists them."""
        ...

    def watch(self, kind: str, version: str) -> Response | None:
        """None if the version has expired."""
        ...

    def open_log(self, pod: str) -> Response | None:
        """With timestamps; None if there is none."""
        ...

    def is_at_work(self, pod: str) -> bool:
        """Whether its log may go on."""
        ...


OnLine = Callable[[str, str], None]
"""Takes the pod's name and the line."""
OnStatus = Callable[[GangStatus], None]


def outcome_seen(gang: GangSource, on_line: OnLine, on_status: OnStatus, deadline: float | None) -> GangOutcome | None:
    """None if it is not over at the deadline, of `time.monotonic`. Both callbacks are called in this thread."""
    streams = Streams()
    try:
        for kind in gang.kinds:
            streams.watch(kind, partial(gang.list_all, kind), partial(gang.watch, kind))
        outcome = _heard(gang, streams, on_line, on_status, deadline)
        if outcome is not None:
            for line in streams.last_lines(_LAST_LINES_SECONDS):
                on_line(line.pod, line.text)
    finally:
        streams.stop()
    return outcome


def _heard(
    gang: GangSource, streams: Streams, on_line: OnLine, on_status: OnStatus, deadline: float | None
) -> GangOutcome | None:
    whole: Observed | None = None
    ended: Observed | None = None
    seen: dict[str, list[Observed]] = {}
    remembered: dict[str, Observed] = {}
    told: GangStatus | None = None
    while (news := streams.next(deadline)) is not None:
        if isinstance(news, Line):
            on_line(news.pod, news.text)
            continue
        seen[news.kind] = list(news.objects.values())
        if news.kind == "Pod":
            remembered |= news.objects
        elif news.kind == gang.kind:
            whole = news.objects.get(gang.name)
            if whole is None and ended is None:
                return Infrastructure(f"{gang.name} was removed before its end was seen; run again to go on")
        if whole is None or "Pod" not in seen:
            continue
        pods = seen["Pod"]
        _open_logs(gang, streams, pods)
        status = status_of(whole, pods, waits_for(whole, pods, seen.get("Workload"), seen.get("Event", ())))
        if status != told:
            on_status(status)
            told = status
        if ended is None and outcome_of(whole, ()) is not None:
            ended, deadline = whole, time.monotonic() + _SETTLING_SECONDS
    return None if ended is None else _cause(gang, ended, remembered, streams)


def _cause(gang: GangSource, ended: Observed, remembered: dict[str, Observed], streams: Streams) -> GangOutcome | None:
    """Pods say why it ended. An evicted one is gone by now, and the end of others may not have been seen yet."""
    pods = gang.list_all("Pod")["items"]
    _open_logs(gang, streams, pods)
    known = remembered | {pod["metadata"]["name"]: pod for pod in pods}
    return outcome_of(ended, of_last_attempt(known.values()))


def _open_logs(gang: GangSource, streams: Streams, pods: list[Observed]) -> None:
    """Of rank 0, and of the first that fails."""
    heard = [pod for pod in pods if index_of(pod) == 0 and has_started(pod)]
    failing = first_failing(pods)
    if failing is not None and has_started(failing):
        heard.append(failing)
    for pod in heard:
        name = pod["metadata"]["name"]
        streams.read_log(name, partial(gang.open_log, name), partial(gang.is_at_work, name))
