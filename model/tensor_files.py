"""Named tensors in one safetensors file or several: written a file at a time, read a tensor at a time.

One file is `model.safetensors`; several are `model-00001-of-00003.safetensors` and so on, with an index beside them
that says which tensor lies in which (Hugging Face's convention, so that `transformers` and vLLM read them as they are).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

TENSORS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class TensorFileError(Exception):
    """Files that do not hold the tensors they should; one sentence with the file and the reason, without the mend."""


def files_of(sizes_bytes: Mapping[str, int], shard_bytes: int) -> dict[str, list[str]]:
    """The names of tensors by file, in their order: each file as full as it can be, never above `shard_bytes`.

    A tensor above the limit has a file of its own.
    """
    groups: list[list[str]] = [[]]
    room = shard_bytes
    for name, size in sizes_bytes.items():
        if size > room and groups[-1]:
            groups.append([])
            room = shard_bytes
        groups[-1].append(name)
        room -= size
    if len(groups) == 1:
        return {TENSORS_FILE: groups[0]}
    return {f"model-{number:05}-of-{len(groups):05}.safetensors": names for number, names in enumerate(groups, start=1)}


def write_tensors(
    out: Path, sizes_bytes: Mapping[str, int], tensors: Iterable[tuple[str, Tensor]], shard_bytes: int
) -> list[Path]:
    """Write `tensors`, which come in the order of `sizes_bytes`; only one file's are held at a time.

    Returns the files with tensors. The same tensors give the same bytes.
    """
    files = files_of(sizes_bytes, shard_bytes)
    coming = iter(tensors)
    for file, names in files.items():
        save_file(dict(next(coming) for _ in names), out / file, metadata={"format": "pt"})
    if len(files) > 1:
        index = {
            "metadata": {"total_size": sum(sizes_bytes.values())},
            "weight_map": {name: file for file, names in files.items() for name in names},
        }
        (out / INDEX_FILE).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return [out / file for file in files]


class TensorFiles(Mapping[str, Tensor]):
    """The tensors of a directory; each is read when it is asked for, and may stand on its file: copy what you keep.

    TensorFileError if a file is missing or damaged, or if the index does not say what the files hold.
    """

    def __init__(self, directory: Path) -> None:
        self._files: dict[str, Any] = {}
        """The open file of each tensor."""
        for path, promised in _files_in(directory).items():
            file = _opened(path)
            held: list[str] = list(file.keys())
            if promised is not None and promised != set(held):
                name = min(promised ^ set(held))
                raise TensorFileError(f"{path} and {directory / INDEX_FILE} do not agree on {name}")
            self._files |= dict.fromkeys(held, file)

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, without reading it."""
        return tuple(self._files[name].get_slice(name).get_shape())


def _files_in(directory: Path) -> Mapping[Path, set[str] | None]:
    """The files with tensors, and which the index promises of each; None where there is no index."""
    index = directory / INDEX_FILE
    if (directory / TENSORS_FILE).exists() or not index.exists():
        return {directory / TENSORS_FILE: None}
    try:
        said: Any = json.loads(index.read_bytes())
        return _promised(said["weight_map"].items(), directory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"{index} cannot be read ({error})") from None


def _promised(places: Iterable[tuple[str, str]], directory: Path) -> dict[Path, set[str]]:
    files: dict[Path, set[str]] = {}
    for file, group in groupby(sorted(places, key=lambda place: place[1]), key=lambda place: place[1]):
        # A bare name: an index must not point outside its directory.
        if Path(file).name != file:
            raise ValueError(f"{file!r} is no bare file name")
        files[directory / file] = {name for name, _ in group}
    return files


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise TensorFileError(f"{path} cannot be read ({error})") from None
