"""Parameters of the redaction. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from components.section import Section


class RedactSecretsConfig(Section):
    """What is replaced inside the text. A file is never dropped for a secret."""

    entities: Annotated[tuple[Literal["email", "ip_address", "key"], ...], Field(min_length=1)]
    min_key_entropy_bits: Annotated[float, Field(ge=0, le=8)]
    """Shannon entropy per character below which a key-like string is taken for a word or a constant."""
