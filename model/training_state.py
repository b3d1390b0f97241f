"""What a rank must keep to go on: runs of numbers of named parameters, fp32 weights and Adam's two moments.

A fragment says of which whole parameter it is which part, so that ranks of any other layout can put together what they
need: every checkpoint can be read by every layout, and there is no conversion. A rank's file is one safetensors file;
its header holds where each fragment belongs.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from safetensors import safe_open
from torch import Tensor

KINDS = ("weights", "exp_avg", "exp_avg_sq")
"""fp32 weights, and the first and second moment of Adam under PyTorch's names."""

Count = Annotated[int, Field(ge=0)]


class Place(BaseModel):
    """Which numbers of a parameter a fragment holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[Count, ...]
    """Of the tensor rank's part, whole if `dimension` is None."""
    dimension: Count | None
    """Along which the parameter is cut into parts for the tensor ranks."""
    part: Count
    parts: Annotated[int, Field(ge=1)]
    start: Count
    """First number held, in the flattened part."""
    length: Count

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """Of the parameter."""
        if self.dimension is None:
            return self.shape
        return tuple(size * (self.parts if axis == self.dimension else 1) for axis, size in enumerate(self.shape))

    def cut(self, whole: Tensor) -> Tensor:
        """This fragment's numbers out of the whole parameter."""
        part = whole if self.dimension is None else whole.chunk(self.parts, dim=self.dimension)[self.part]
        return part.reshape(-1)[self.start : self.start + self.length]


@dataclass(frozen=True)
class Fragment:
    """Some numbers of one parameter, by kind; tensors are flat float32 on any device."""

    place: Place
    tensors: Mapping[str, Tensor]


RankState = Mapping[str, Fragment]
"""By the parameter's name."""

_PLACES = TypeAdapter(dict[str, Place])


class StateError(Exception):
    """Files that do not hold the whole state; one sentence with the parameter."""


def state_bytes(state: RankState) -> bytes:
    """A rank's file; the same state gives the same bytes."""
    tensors = {
        f"{name}|{kind}": fragment.tensors[kind].detach().cpu().contiguous()
        for name, fragment in state.items()
        for kind in KINDS
    }
    places = {name: fragment.place.model_dump(mode="json") for name, fragment in state.items()}
    return safetensors.torch.save(tensors, {"places": json.dumps(places, sort_keys=True)})


class WholeState(Protocol):
    """A state from which any rank of any layout can take its share."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every whole parameter, by name."""
        ...

    def fragment(self, name: str, wanted: Place) -> dict[str, Tensor]:
        """The numbers of a place, by kind."""
        ...


class FirstState:
    """Given weights before the first step: Adam's moments are zero."""

    def __init__(self, weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Whole float32 weights by name, read one at a time."""
        self._weights = weights
        self._shapes = shapes

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """As given."""
        return dict(self._shapes)

    def fragment(self, name: str, wanted: Place) -> dict[str, Tensor]:
        """The numbers of a place, by kind."""
        weights = wanted.cut(self._weights[name]).clone()
        return {"weights": weights} | {kind: torch.zeros_like(weights) for kind in KINDS[1:]}


class StateReader:
    """The state of all ranks of one checkpoint, read by any rank, one parameter at a time."""

    def __init__(self, files: Iterable[Path]) -> None:
        """OSError or SafetensorError if a file cannot be read, StateError if it is none of ours."""
        self._files: dict[str, list[tuple[Path, Place]]] = defaultdict(list)
        for path in files:
            for name, place in _places_in(path).items():
                self._files[name].append((path, place))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every whole parameter, by name."""
        return {name: found[0][1].whole_shape for name, found in sorted(self._files.items())}

    def fragment(self, name: str, wanted: Place) -> dict[str, Tensor]:
        """The numbers of a place, by kind; StateError if the files do not hold them all."""
        for path, place in self._files.get(name, []):
            if place == wanted:
                return {kind: _read(path, name, kind) for kind in KINDS}
        return {kind: wanted.cut(self.whole(name, kind)).clone() for kind in KINDS}

    def whole(self, name: str, kind: str) -> Tensor:
        """A whole parameter, put together; StateError if a number of it is in no file."""
        found = self._files.get(name)
        if not found:
            raise StateError(f"no file holds {name}")
        first = found[0][1]
        parts = [self._part(name, kind, part, first) for part in range(first.parts)]
        return torch.cat(parts, dim=first.dimension) if first.dimension is not None else parts[0]

    def _part(self, name: str, kind: str, number: int, like: Place) -> Tensor:
        flat = torch.empty(math.prod(like.shape))
        filled = torch.zeros(len(flat), dtype=torch.bool)
        for path, place in self._files[name]:
            run = slice(place.start, place.start + place.length)
            is_here = place.part == number or place.dimension is None
            if is_here and not bool(filled[run].all()):
                flat[run] = _read(path, name, kind)
                filled[run] = True
        if not bool(filled.all()):
            raise StateError(f"{int((~filled).sum())} of {len(flat)} numbers of {name} are in no file")
        return flat.reshape(like.shape)


def _places_in(path: Path) -> dict[str, Place]:
    with safe_open(path, framework="pt") as file:
        metadata: Any = file.metadata()
    try:
        return _PLACES.validate_json(metadata["places"])
    except (TypeError, KeyError, ValueError):
        raise StateError(f"{path} does not say of which parameters it holds parts") from None


def _read(path: Path, name: str, kind: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(f"{name}|{kind}")
