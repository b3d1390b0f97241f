"""Objects of a versioned bucket, pinned: what `dvc import-url --version-aware --no-download` writes, and its reading.

A pin is a `.dvc` file in the workspace: bucket and prefix, and of each object its version, ETag and size. So a source
is named without being downloaded, and stays what it was when its objects are overwritten. `dvc update` moves a pin.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import SourceError

PIN_SUFFIX = ".dvc"


@dataclass(frozen=True)
class PinnedObject:
    """One version of one object."""

    name: str
    """Relative to the source."""
    bucket: str
    key: str
    version: str
    etag: str
    size_bytes: int

    @property
    def digest(self) -> str:
        """What tells this version from every other; the bytes are not read for it."""
        return f"{self.etag} {self.size_bytes} {self.version}"


def is_pin(path: str) -> bool:
    """Whether the path of a source is a pin's."""
    return path.endswith(PIN_SUFFIX) and "://" not in path


def read_pin(path: Path) -> list[PinnedObject]:
    """The objects of a pin, asking nobody. SourceError if it is not there or pins no versions."""
    try:
        told: Any = YAML(typ="safe").load(path)
        (dependency,) = told["deps"]
        bucket, _, prefix = str(dependency["path"]).removeprefix("s3://").partition("/")
        found: list[Any] = dependency.get("files", [dependency])
        return [_pinned(bucket, prefix, file) for file in found]
    except FileNotFoundError:
        raise SourceError(f"there is no pin {path}; correct its path or make it with `dvc import-url`") from None
    except (OSError, YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise SourceError(
            f"{path} pins no versions of objects; make it anew with `dvc import-url --version-aware --no-download "
            "s3://BUCKET/PREFIX`, from a bucket with versioning"
        ) from None


def _pinned(bucket: str, prefix: str, file: dict[str, Any]) -> PinnedObject:
    """`file` is one of a directory, or the only one, whose key is the prefix."""
    name = file.get("relpath")
    return PinnedObject(
        name=str(name) if name else prefix.rpartition("/")[2],
        bucket=bucket,
        key="/".join((prefix.rstrip("/"), str(name))) if name else prefix,
        version=str(file["version_id"]),
        etag=str(file["etag"]),
        size_bytes=int(file["size"]),
    )
