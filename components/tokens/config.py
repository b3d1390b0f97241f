"""Parameters of the tokenizer and of the token shards."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section
from model.special_tokens import FAMILIES

_BYTES = 256
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class TrainTokenizerConfig(Section):
    """The byte-level BPE."""

    take_from: Annotated[str, Field(min_length=1)] | None
    """A directory, from the workspace, whose tokenizer.json is taken as it is; None learns one from the corpus."""
    special_tokens: Literal["starcoder", "starcoder2"]
    """The family whose special tokens take the first ids: 19 of StarCoder, 38 of StarCoder2."""
    vocab_size: Annotated[int, Field(ge=275, le=65_535)]
    """Entries including the special tokens and the 256 bytes; below 2^16, so a token fits two bytes."""
    min_frequency: Annotated[int, Field(ge=1)]
    """A pair seen less often is not merged."""
    sample_bytes: Annotated[int, Field(ge=1024)]
    """At most so many bytes of training files are read, chosen by `seed`."""
    seed: Seed

    @model_validator(mode="after")
    def _vocabulary_holds_the_special_tokens(self) -> "TrainTokenizerConfig":
        least = len(FAMILIES[self.special_tokens]) + _BYTES
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size {self.vocab_size} does not hold the special tokens of {self.special_tokens} and the "
                f"{_BYTES} bytes; raise it to {least} or more"
            )
        return self


class PrefixProbabilities(BaseModel):
    """How often each part of a StarCoder prefix stands before a file, each drawn by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Probability
    path: Probability
    stars: Probability


class RepositoryDocumentsConfig(BaseModel):
    """StarCoder2's documents: the files of a repository one after the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Literal["random", "dependency"]
    """Of the files: drawn by seed, or what is imported before what imports it."""
    named_probability: Probability
    """How often a document names its repository and the paths of its files."""
    max_document_bytes: Annotated[int, Field(ge=1024)]
    """A repository with more text is cut into several documents between files; a larger file stands alone."""


class TokenizeCorpusConfig(Section):
    """How documents become streams of tokens, one for each split and source (see `documents.source_of`)."""

    shard_tokens: Annotated[int, Field(ge=1024)]
    """A shard is closed when it holds so many tokens."""
    layout: Literal["files", "repositories"]
    """What a document is: one file, or the files of one repository (StarCoder2's tokens only)."""
    prefix_probabilities: PrefixProbabilities
    """Read for StarCoder's tokens."""
    repository_documents: RepositoryDocumentsConfig
    """Read for StarCoder2's tokens; a layout of files makes each a repository of one file."""
    encoder_check_bytes: Annotated[int, Field(ge=0)]
    """Text of the corpus on which the fast encoder is first compared with the library `tokenizers`."""
    seed: Seed
