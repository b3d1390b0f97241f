"""The base of every section of params.yaml: frozen, complete, nothing unknown."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of params.yaml. No field has a default: the file states everything that changes a result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: Annotated[int, Field(ge=1)]
    """The meaning of the step; raised by hand when the step computes something else from the same parameters."""


class Summary(BaseModel):
    """Typed outcome of a step; goes into the record, to MLflow and to the model card. Deterministic: no clock."""

    model_config = ConfigDict(frozen=True, extra="forbid")
