"""Parameters of the redaction. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from components.redaction.secret_rules import Entity
from components.section import Section
from model.encoder_config import ClassifierTrainingConfig, EncoderConfig


class RedactSecretsConfig(Section):
    """What is replaced inside the text. A file is never dropped for a secret."""

    entities: Annotated[tuple[Entity, ...], Field(min_length=1)]
    min_key_entropy_bits: Annotated[float, Field(ge=0, le=8)]
    """Shannon entropy per character below which a key-like string is taken for a word or a constant."""


class TrainPiiTaggerConfig(Section):
    """The tagger of personal data that nothing announces."""

    enabled: bool
    """The one setting: false trains nothing and redacts by rules alone."""
    num_files: Annotated[int, Field(ge=1)]
    """So many files of the corpus lend their code, divided 7 : 1 : 2 into training, validation and held-out."""
    excerpt_lines: Annotated[int, Field(ge=1)]
    """Lines of code in an example."""
    plants_per_file: Annotated[int, Field(ge=1)]
    """Plantings in an example on average."""
    overlap_tokens: Annotated[int, Field(ge=0)]
    """Pieces that neighbouring windows share when a text is read."""
    encoder: EncoderConfig
    training: ClassifierTrainingConfig
    seed: Annotated[int, Field(ge=0, lt=2**63)]

    @model_validator(mode="after")
    def _windows_advance(self) -> "TrainPiiTaggerConfig":
        if self.overlap_tokens >= self.encoder.context_length_tokens:
            raise ValueError(
                f"overlap_tokens {self.overlap_tokens} leaves nothing of a window of "
                f"{self.encoder.context_length_tokens} tokens; lower it"
            )
        return self
