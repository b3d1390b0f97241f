"""Parameters of the corpus steps. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


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


Source = Annotated[DirectorySource | GitSource | ArchiveSource, Field(discriminator="kind")]


class IngestSourcesConfig(Section):
    """What is collected."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    max_file_bytes: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """A larger file is dropped unread."""
    shard_bytes: Annotated[int, Field(ge=1024)]
    """A shard is closed when its text reaches this size."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "IngestSourcesConfig":
        names = [source.name for source in self.sources]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"two sources share the name {doubled[0]!r}; give each its own")
        return self


class FilterQualityConfig(Section):
    """Which files read like source code."""

    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    """Languages that are kept, as `components/corpus/languages.py` spells them."""
    max_line_length_chars: Annotated[int, Field(ge=1)]
    max_mean_line_length_chars: Annotated[float, Field(gt=0)]
    min_alphanumeric_fraction: Fraction
    xml_declaration_window_chars: Annotated[int, Field(ge=0)]
    """A file whose first so many characters hold `<?xml version=` is dropped; 0 turns the rule off."""
    long_lines_allowed: tuple[str, ...]
    """Languages whose files are exempt from both line-length rules (prose is not wrapped)."""


class RedactSecretsConfig(Section):
    """What is replaced inside the text. A file is never dropped for a secret."""

    entities: Annotated[tuple[Literal["email", "ip_address", "key"], ...], Field(min_length=1)]
    min_key_entropy_bits: Annotated[float, Field(ge=0, le=8)]
    """Shannon entropy per character below which a key-like string is taken for a word or a constant."""


class DeduplicateConfig(Section):
    """When two files are the same to a model."""

    num_permutations: Annotated[int, Field(ge=16, le=1024)]
    ngram_tokens: Annotated[int, Field(ge=1, le=20)]
    jaccard_threshold: Annotated[float, Field(gt=0.0, le=1.0)]
    num_bands: Annotated[int, Field(ge=1)]
    rows_per_band: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @model_validator(mode="after")
    def _bands_fit(self) -> "DeduplicateConfig":
        if self.num_bands * self.rows_per_band > self.num_permutations:
            raise ValueError(
                f"num_bands x rows_per_band = {self.num_bands * self.rows_per_band} exceeds "
                f"num_permutations = {self.num_permutations}; lower one or raise the other"
            )
        return self


class DecontaminateConfig(Section):
    """What counts as overlap with a benchmark."""

    min_match_chars: Annotated[int, Field(ge=10)]
    """Shorter benchmark strings are not searched: they occur by chance."""
    ngram_tokens: Annotated[int, Field(ge=5, le=50)]
    """A file that shares so many consecutive tokens with a problem's solution is dropped."""


class SplitCorpusConfig(Section):
    """Which share is held out. The hash of `unit` decides, so a file keeps its split when the corpus grows."""

    unit: Literal["repository", "path"]
    """`repository` keeps a repository in one split; `path` serves corpora of few repositories."""
    validation_fraction: Fraction
    test_fraction: Fraction
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @model_validator(mode="after")
    def _something_is_left(self) -> "SplitCorpusConfig":
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1.0:
            raise ValueError(f"validation_fraction + test_fraction = {held_out} leaves nothing to train on")
        return self
