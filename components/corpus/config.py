"""Parameters of the corpus steps. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class PermitFilesConfig(Section):
    """Under which licence a model may learn from a text."""

    permitted_categories: Annotated[tuple[str, ...], Field(min_length=1)]
    """ScanCode's categories of licences, for example Permissive and Public Domain."""
    also_permitted: tuple[str, ...]
    """SPDX identifiers that are permitted whatever their category."""
    unlicensed: Literal["keep", "drop"]
    """What becomes of a text whose licence is not known; StarCoder dropped it, StarCoder2 kept it."""


class DeduplicateOverride(BaseModel):
    """What is different for the files of one extension; what is not named is as for all others."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ngram_tokens: Annotated[int, Field(ge=1, le=20)] | None = None
    jaccard_threshold: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    num_bands: Annotated[int, Field(ge=1)] | None = None
    rows_per_band: Annotated[int, Field(ge=1)] | None = None


class DeduplicateConfig(Section):
    """When two files are the same to a model."""

    kinds: tuple[Literal["file", "notebook_script", "notebook", "issue", "commit"], ...]
    """Kinds of which near-duplicates are dropped; of all others only equal ones are."""
    lowercase: bool
    """Whether the case of ASCII letters makes no difference."""
    empty_tokens: bool
    """Whether two separators in a row have an empty token between them: layout then counts for much."""
    num_permutations: Annotated[int, Field(ge=16, le=1024)]
    ngram_tokens: Annotated[int, Field(ge=1, le=20)]
    jaccard_threshold: Annotated[float, Field(gt=0.0, le=1.0)]
    num_bands: Annotated[int, Field(ge=1)]
    rows_per_band: Annotated[int, Field(ge=1)]
    overrides: dict[Annotated[str, Field(pattern=r"^\.[^A-Z/]+$")], DeduplicateOverride]
    """By extension, lower case with its dot. Files of different rules are compared for equality only."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @model_validator(mode="after")
    def _bands_fit(self) -> "DeduplicateConfig":
        for place, override in {"": DeduplicateOverride(), **self.overrides}.items():
            num_bands = override.num_bands or self.num_bands
            rows_per_band = override.rows_per_band or self.rows_per_band
            if num_bands * rows_per_band > self.num_permutations:
                raise ValueError(
                    f"num_bands x rows_per_band = {num_bands * rows_per_band}{place and f' for {place}'} exceeds "
                    f"num_permutations = {self.num_permutations}; lower one or raise the other"
                )
        return self

    @property
    def token_options(self) -> dict[str, bool]:
        """What `ngrams.ngram_hashes` needs to know of tokens."""
        return {"lowercase": self.lowercase, "empty_tokens": self.empty_tokens}


class DecontaminateConfig(Section):
    """What counts as overlap with a benchmark."""

    min_match_chars: Annotated[int, Field(ge=10)]
    """Shorter benchmark texts are not searched whole: they occur by chance."""
    blanks: Literal["one_space", "removed"]
    """Whether runs of blanks count as one space when whole texts are compared, or as nothing; then `a b` is `ab`."""
    ngram_tokens: Annotated[int, Field(ge=5, le=50)]
    """A file that shares so many consecutive tokens with a problem's text is dropped."""
    min_ngram_words: Annotated[int, Field(ge=1)]
    """An n-gram with fewer different words (tokens with two letters in a row) is not searched."""


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


class DescribeCorpusConfig(Section):
    """What the dataset card says beside the figures."""

    title: Annotated[str, Field(min_length=1)]
    description: str
