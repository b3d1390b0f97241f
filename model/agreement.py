"""How ranks agree: each tells all the others a few bytes, so that all of them decide the same."""

import math
from collections.abc import Callable
from concurrent.futures import Future, wait
from time import monotonic
from typing import Any

from model.training_errors import RequestError, TrainingFailedError

Exchange = Callable[[bytes], list[bytes]]
"""Gives every rank's payload to every rank, in the order of ranks; payloads are equally long."""
Note = Callable[[str], None]
"""Takes a sentence that a person should see; rank 0's is heard."""

_SENTENCE_BYTES = 400
_POLL_SECONDS = 1.0
_OF_A_PERSON = "\1"
"""Before the sentence of a RequestError."""
_RUNS, _IS_DONE, _GIVES_UP = b"\0", b"\1", b"\2"


def tell_all(exchange: Exchange, sentence: str) -> list[str]:
    """What each rank says, in the order of ranks; the end of a long sentence is cut."""
    payload = sentence.encode(errors="replace")[:_SENTENCE_BYTES].ljust(_SENTENCE_BYTES, b"\0")
    return [said.rstrip(b"\0").decode(errors="replace") for said in exchange(payload)]


def require_success(exchange: Exchange, fault: str | RequestError) -> None:
    """Wait for all ranks; on all of them a fault that one has to tell is a RequestError or TrainingFailedError."""
    for said in tell_all(exchange, f"{_OF_A_PERSON if isinstance(fault, RequestError) else ''}{fault}"):
        if said.startswith(_OF_A_PERSON):
            raise RequestError(said.removeprefix(_OF_A_PERSON))
        if said:
            raise TrainingFailedError(said)


def wait_for_all(
    exchange: Exchange, job: Future[Any], beat: Callable[[], None], at_most_seconds: float = math.inf
) -> bool:
    """Wait until the jobs of all ranks have ended, well or not; False on all ranks if one gave up waiting.

    `beat` is called while that takes long, so that it does not pass for hanging.
    """
    deadline = monotonic() + at_most_seconds
    while True:
        left = deadline - monotonic()
        wait([job], min(max(left, 0.0), _POLL_SECONDS))
        words = exchange(_IS_DONE if job.done() else _RUNS if left > 0 else _GIVES_UP)
        if all(word == _IS_DONE for word in words):
            return True
        if _GIVES_UP in words:
            return False
        beat()


def fault_of(job: Future[Any]) -> str:
    """What went wrong in a job that has ended, in one sentence; empty if nothing did."""
    error = job.exception()
    if error is None or isinstance(error, TrainingFailedError):
        return str(error or "")
    return f"{type(error).__name__}: {error}"
