"""Parameters of what is collected. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section
from components.sources.pinned_objects import is_pin


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Names the source in tables and lineage; unique in the list."""
    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    """Where it lies, relative to the workspace; `{python_stdlib}` stands for the running Python's library."""
    repository: Annotated[str, Field(min_length=1)]
    """`owner/name` that its files are attributed to."""
    license: str | None
    """SPDX expression declared for every file that no licence file of its own covers; null: only detected ones."""
    exclude: tuple[str, ...]
    """Glob patterns of paths inside the source that are not read; one without a slash matches at any depth."""


class DirectorySource(_Source):
    """A tree of files on disk. Symbolic links are not followed."""

    kind: Literal["directory"]


class GitSource(_Source):
    """A Git repository, bare or not, read from its object database, never from the working tree."""

    kind: Literal["git"]
    revision: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    """Commit, tag or branch; resolved to a commit before anything is read."""
    history: bool
    """True: every distinct version of every file reachable from the commit; false: the tree at the commit."""


class ArchiveSource(_Source):
    """A `.zip`, `.tar`, `.tar.gz`, `.tar.bz2` or `.tar.xz` file, read without unpacking it."""

    kind: Literal["archive"]


class ParquetSource(_Source):
    """Parquet files with the columns of The Stack: one file, or all under a directory or an `s3://bucket/prefix`.

    A path that ends in `.dvc` is a pin in the workspace (`pinned_objects.py`): versions of objects in S3. `repository`
    and `license` stand for rows that name none.
    """

    kind: Literal["parquet"]

    @model_validator(mode="after")
    def _pin_is_in_the_workspace(self) -> "ParquetSource":
        if is_pin(self.path) and (self.path.startswith("/") or ".." in self.path.split("/")):
            raise ValueError(f"the pin {self.path!r} is not in the workspace; move it there and mend its path")
        return self


class HubSource(_Source):
    """The Parquet files of a data set on the Hugging Face hub; `path` is its name, `owner/name`."""

    kind: Literal["hub"]
    revision: Annotated[str, Field(min_length=1)]
    """Commit, tag or branch; resolved to a commit before anything is read."""


Source = Annotated[DirectorySource | GitSource | ArchiveSource | ParquetSource | HubSource, Field(discriminator="kind")]


class IngestSourcesConfig(Section):
    """What is collected."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    max_file_bytes: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """A larger file is dropped unread."""
    shard_bytes: Annotated[int, Field(ge=1024)]
    """A shard is closed when its text reaches this size."""

    @property
    def pinned(self) -> tuple[ParquetSource, ...]:
        """The sources that are pins."""
        return tuple(source for source in self.sources if isinstance(source, ParquetSource) and is_pin(source.path))

    @model_validator(mode="after")
    def _names_are_unique(self) -> "IngestSourcesConfig":
        names = [source.name for source in self.sources]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"two sources share the name {doubled[0]!r}; give each its own")
        return self


class CollectOptOutsConfig(Section):
    """Who asked to be left out."""

    opt_out_files: tuple[str, ...]
    """YAML files with the lists `repositories` and `users`, relative to the workspace; none: nobody has asked."""
