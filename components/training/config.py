"""Parameters of the export; those of the training itself belong to the model (`model/config.py`)."""

from typing import Literal

from components.section import Section


class ExportWeightsConfig(Section):
    """How the bundle is written."""

    dtype: Literal["float32", "bfloat16"]
    """Type of the exported weights."""
