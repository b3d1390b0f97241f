"""Parameters of the corpus steps. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class FilterQualityConfig(Section):
    """Which files read like source code."""

    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    """Languages that are kept, as `components/sources/languages.py` spells them."""
    max_line_length_chars: Annotated[int, Field(ge=1)]
    max_mean_line_length_chars: Annotated[float, Field(gt=0)]
    min_alphanumeric_fraction: Fraction
    xml_declaration_window_chars: Annotated[int, Field(ge=0)]
    """A file whose first so many characters hold `<?xml version=` is dropped; 0 turns the rule off."""
    long_lines_allowed: tuple[str, ...]
    """Languages whose files are exempt from both line-length rules (prose is not wrapped)."""


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
