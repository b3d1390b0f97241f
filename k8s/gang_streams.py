"""Reads the streams of a gang, each in its thread, and hands what they tell to one queue, so that one thread hears all.

A watch that breaks, ends or is told that its version expired begins again from a new list; a log that breaks is opened
again and goes on behind the last line. Nothing is asked without a pause, which grows while it does not help.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, Protocol

from urllib3.exceptions import HTTPError

from k8s.request import ClusterError

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0
_LIVED_SECONDS = 5.0
"""A stream that held so long was no failure."""
_LOG_TRIES = 4
"""In a row. A log may be out of reach with its node, which must not end the following."""
_POLL_SECONDS = 0.1


class Response(Protocol):
    """What is used of urllib3's response."""

    @property
    def connection(self) -> Any:
        """Through which it comes; None when it has ended."""
        ...

    def stream(self, amt: int | None = ..., decode_content: bool | None = ...) -> Iterator[bytes]:
        """Pieces as they come. HTTPError when it breaks."""
        ...

    def close(self) -> None:
        """And its connection."""
        ...


@dataclass(frozen=True)
class Seen:
    """All objects of a kind, by name. One that was just deleted is among them a last time, with `deletionTimestamp`."""

    kind: str
    objects: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Line:
    """Of the log of a pod."""

    pod: str
    text: str


def pause_seconds(failures: int) -> float:
    """Before the next try: doubles up to ten seconds, and differs, so that many do not come back at once."""
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)


class Streams:
    """Must be stopped: until then its threads go on."""

    def __init__(self) -> None:
        self._news: Queue[Seen | Line | BaseException] = Queue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._logs: dict[str, threading.Thread] = {}
        self._open: set[Response] = set()

    def watch(
        self, kind: str, list_all: Callable[[], dict[str, Any]], open_watch: Callable[[str], Response | None]
    ) -> None:
        """Post all objects at each change. `open_watch` takes the list's version; None if that has expired."""
        self._start(f"watch {kind}", lambda: self._watch(kind, list_all, open_watch))

    def read_log(self, pod: str, open_log: Callable[[], Response | None], goes_on: Callable[[], bool]) -> None:
        """Post its lines, once however often it is called. The log bears timestamps; None if there is none."""
        if pod not in self._logs:
            self._logs[pod] = self._start(f"log {pod}", lambda: self._read_log(pod, open_log, goes_on))

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except ClusterError as error:
                self._news.put(error)
            except BaseException as error:
                self._news.put(error)  # a fault of ours: whoever waits for news must not wait for ever
                raise

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _watch(
        self, kind: str, list_all: Callable[[], dict[str, Any]], open_watch: Callable[[str], Response | None]
    ) -> None:
        failures = 0
        while not self._stopping.is_set():
            listed = list_all()
            objects = {one["metadata"]["name"]: one for one in listed["items"]}
            self._news.put(Seen(kind, dict(objects)))
            begun = time.monotonic()
            try:
                response = open_watch(listed["metadata"]["resourceVersion"])
                if response is not None:
                    self._follow_changes(kind, objects, response)
            except (HTTPError, ValueError):
                pass  # broken, or cut in a line; the next list is asked for until the server answers, with a deadline
            failures = 0 if time.monotonic() - begun > _LIVED_SECONDS else failures + 1
            self._stopping.wait(pause_seconds(failures))

    def _follow_changes(self, kind: str, objects: dict[str, dict[str, Any]], response: Response) -> None:
        for line in self._lines(response):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return  # mostly 410: the version has expired
            if event["type"] == "BOOKMARK":
                continue
            one: dict[str, Any] = event["object"]
            name = one["metadata"]["name"]
            if event["type"] == "DELETED":
                metadata = {"deletionTimestamp": "unknown"} | one["metadata"]
                self._news.put(Seen(kind, objects | {name: one | {"metadata": metadata}}))
                objects.pop(name, None)
            else:
                objects[name] = one
                self._news.put(Seen(kind, dict(objects)))

    def _read_log(self, pod: str, open_log: Callable[[], Response | None], goes_on: Callable[[], bool]) -> None:
        last = ""
        failures = 0
        while not self._stopping.is_set():
            known = last
            try:
                response = open_log()
                if response is None:
                    return
                for line in self._lines(response):
                    at, _, text = line.partition(" ")
                    if at > known:  # the kubelet writes times with all nine digits, so they compare as text
                        self._news.put(Line(pod, text))
                        last, failures = at, 0
                if not goes_on():
                    return
            except (HTTPError, ClusterError) as error:
                if failures >= _LOG_TRIES - 1:
                    self._news.put(Line(pod, f"(its log cannot be read any more: {error})"))
                    return
            failures += 1
            self._stopping.wait(pause_seconds(failures))

    def _lines(self, response: Response) -> Iterator[str]:
        """Until the stream ends or all is stopped; an end without a line feed is a line too."""
        self._open.add(response)
        rest = b""
        try:
            if self._stopping.is_set():
                return  # it came too late for `stop` to interrupt it
            for piece in response.stream(None, False):
                if self._stopping.is_set():
                    return
                *complete, rest = (rest + piece).split(b"\n")
                for line in filter(None, complete):
                    yield line.decode("utf-8", errors="replace")
            if rest:
                yield rest.decode("utf-8", errors="replace")
        finally:
            self._open.discard(response)
            response.close()

    def next(self, deadline: float | None) -> Seen | Line | None:
        """What comes next; None when the deadline, of `time.monotonic`, has passed. ClusterError that a thread met."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return None
        try:
            news = self._news.get(timeout=left)
        except Empty:
            return None
        if isinstance(news, BaseException):
            raise news
        return news

    def last_lines(self, seconds: float) -> Iterator[Line]:
        """What the logs still say until they end, at most for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            is_open = any(thread.is_alive() for thread in self._logs.values())
            try:
                news = self._news.get(timeout=_POLL_SECONDS if is_open else 0.001)
            except Empty:
                if not is_open:
                    return
                continue
            if isinstance(news, Line):
                yield news

    def stop(self) -> None:
        """End the threads; one that waits for an API server that is away ends by itself later."""
        self._stopping.set()
        for response in list(self._open):
            _interrupt(response)
        for thread in self._threads:
            thread.join(timeout=1.0)


def _interrupt(response: Response) -> None:
    """Wake the thread that reads it: closing a response would wait for the read to end."""
    socket = getattr(response.connection, "sock", None)
    if socket is not None:
        try:
            socket.shutdown(2)
        except OSError:
            return  # it has ended by itself
