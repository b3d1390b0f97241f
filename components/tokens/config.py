"""Parameters of the tokenizer and of the token shards."""

from typing import Annotated

from pydantic import Field

from components.section import Section


class TrainTokenizerConfig(Section):
    """The byte-level BPE."""

    vocab_size: Annotated[int, Field(ge=275, le=65_535)]
    """Entries including the 19 special tokens and the 256 bytes; below 2^16, so a token fits two bytes."""
    min_frequency: Annotated[int, Field(ge=1)]
    """A pair seen less often is not merged."""
    sample_bytes: Annotated[int, Field(ge=1024)]
    """At most so many bytes of training files are read, chosen by `seed`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class TokenizeCorpusConfig(Section):
    """How documents become one stream of tokens per split."""

    shard_tokens: Annotated[int, Field(ge=1024)]
    """A shard is closed when it holds so many tokens."""
    metadata_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    """Chance, each, that a document is prefixed by its repository and by its path."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
