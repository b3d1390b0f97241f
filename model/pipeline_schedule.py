"""When each stage of a pipeline does what: DeepSpeed's own instruction streams, run on a clock in place of devices.

The engine obeys `TrainSchedule`; here each of its instructions takes the seconds that it is given, and a message takes
both stages at once, as DeepSpeed sends and receives one after the other. Nothing is trained and no process is started.
"""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal


@contextmanager
def _in_silence() -> Generator[None]:
    """DeepSpeed says at import that it found no GPU; nobody needs one here."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


with _in_silence():
    from deepspeed.runtime.pipe.schedule import TrainSchedule

Kind = Literal["forward", "backward", "activation", "gradient"]

_WORK: dict[str, Kind] = {"ForwardPass": "forward", "BackwardPass": "backward"}
_SENT: dict[str, Kind] = {"SendActivation": "activation", "SendGrad": "gradient"}
_RECEIVED: dict[str, Kind] = {"RecvActivation": "activation", "RecvGrad": "gradient"}


@dataclass(frozen=True)
class Work:
    """Something that keeps a stage busy. A message, `activation` down or `gradient` up, stands with both its stages."""

    stage: int
    kind: Kind
    micro_batch: int
    start: float
    """Seconds from the beginning of the step."""
    end: float


@dataclass(frozen=True)
class _Instruction:
    kind: Kind
    micro_batch: int
    other: int | None
    """The stage at the other end of a message."""


def timeline(
    num_micro_batches: int, forward: Sequence[float], backward: Sequence[float], message: float = 0.0
) -> list[Work]:
    """All work of one step up to the reduction of gradients, stage by stage in the order of time.

    `forward` and `backward` are seconds of one micro-batch in each stage, `message` those of one message.
    """
    num_stages = len(forward)
    streams = [_instructions(num_micro_batches, num_stages, stage) for stage in range(num_stages)]
    done: list[list[Work]] = [[] for _ in streams]
    seconds = {"forward": forward, "backward": backward}
    while any(streams):
        moved = False
        for stage, stream in enumerate(streams):
            while stream and _can_begin(stage, stream[0], streams):
                instruction = stream.pop(0)
                if instruction.other is None:
                    _append(done, [stage], instruction, seconds[instruction.kind][stage])
                else:
                    streams[instruction.other].pop(0)
                    _append(done, [stage, instruction.other], instruction, message)
                moved = True
        if not moved:
            raise RuntimeError("two stages of DeepSpeed's schedule wait for each other")
    return [work for of_stage in done for work in of_stage]


def bubble_fraction(works: Sequence[Work]) -> float:
    """Share of the stages' time in which they neither compute nor send, from the first beginning to the last end."""
    stages = {work.stage for work in works}
    busy = sum(work.end - work.start for work in works)
    return 1.0 - busy / (len(stages) * max(work.end for work in works))


def _instructions(num_micro_batches: int, num_stages: int, stage: int) -> list[_Instruction]:
    """The stream of one stage. Instructions name buffers; of each kind the n-th is that of micro-batch n."""
    schedule: Any = TrainSchedule(micro_batches=num_micro_batches, stages=num_stages, stage_id=stage)
    counts: dict[str, int] = {}
    stream: list[_Instruction] = []
    for step in schedule.steps():
        for command in step:
            name = str(command.name)
            kind = _WORK.get(name) or _SENT.get(name) or _RECEIVED.get(name)
            if kind is None:
                continue
            number = counts.get(name, 0)
            counts[name] = number + 1
            stream.append(_Instruction(kind, number, _other_end(name, stage)))
    return stream


def _other_end(name: str, stage: int) -> int | None:
    if name in ("SendActivation", "RecvGrad"):
        return stage + 1
    return stage - 1 if name in ("RecvActivation", "SendGrad") else None


def _can_begin(stage: int, instruction: _Instruction, streams: Sequence[Sequence[_Instruction]]) -> bool:
    """A message needs both ends at it."""
    if instruction.other is None:
        return True
    theirs = streams[instruction.other]
    return bool(theirs) and theirs[0] == _Instruction(instruction.kind, instruction.micro_batch, stage)


def _append(done: list[list[Work]], stages: Sequence[int], instruction: _Instruction, seconds: float) -> None:
    start = max(done[stage][-1].end if done[stage] else 0.0 for stage in stages)
    for stage in stages:
        done[stage].append(Work(stage, instruction.kind, instruction.micro_batch, start, start + seconds))
