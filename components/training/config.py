"""Parameters of the export; those of the training itself belong to the model (`model/config.py`)."""

from typing import Annotated, Literal

from pydantic import Field

from components.section import Section


class ExportWeightsConfig(Section):
    """How the bundle is written."""

    dtype: Literal["float32", "bfloat16"]
    """Type of the exported weights."""
    shard_bytes: Annotated[int, Field(ge=1)]
    """A file of weights is no larger, unless a single matrix is."""
