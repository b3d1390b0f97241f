"""What each flow is asked: one request, checked by the server before a run exists, and the form of the web page.

Titles and descriptions are read by the person who fills in the form; an unknown key is refused, never ignored.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ParamsFile = Annotated[
    str,
    Field(
        title="Parameter file",
        description="YAML file inside the workspace that says what is computed, for example params/santacoder.yaml.",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\.yaml$",
        max_length=255,
    ),
]
"""No part may begin with a dot: a path can neither be absolute nor leave the workspace."""

ProfileName = Annotated[
    Annotated[
        str,
        Field(
            pattern=r"^([a-z0-9][a-z0-9-]*|[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\.yaml)$",
            max_length=255,
        ),
    ]
    | None,
    Field(
        title="Profile",
        description="Where to train: a profile that comes with starloom, for example kind-cpu, or a .yaml file of the "
        "workspace. local: on the machine of the run itself. Empty: as the worker is set, see STARLOOM_PROFILE.",
    ),
]


class FlowRequest(BaseModel):
    """The base of every request: frozen, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainCodeModelRequest(FlowRequest):
    """Ask for the whole run: corpus, training, evaluation, registration and, if it earned it, promotion."""

    params_file: ParamsFile = "params.yaml"
    training_steps: int | None = Field(
        default=None,
        title="Training steps",
        description="Train this many steps in place of pretrain.num_steps; the warm-up stays as it is. "
        "Empty: as the parameter file says.",
        ge=10,
        le=1_000_000,
    )
    seed: int | None = Field(
        default=None,
        title="Seed of the training",
        description="Initial weights and order of the data, in place of pretrain.seed. "
        "Empty: as the parameter file says.",
        ge=0,
        le=2**31 - 1,
    )
    profile: ProfileName = None
    promote_if_better: bool = Field(
        default=True,
        title="Promote if better",
        description="Let the new version become the champion if its evaluation is no worse and all contracts hold.",
    )

    def overrides(self) -> tuple[str, ...]:
        """The parameters that this request changes, as SECTION.KEY=VALUE."""
        values = {"pretrain.num_steps": self.training_steps, "pretrain.seed": self.seed}
        return tuple(f"{key}={value}" for key, value in values.items() if value is not None)


class EvaluateModelRequest(FlowRequest):
    """Ask for an evaluation of the bundle that stands in the workspace."""

    params_file: ParamsFile = "params.yaml"
    profile: ProfileName = None


class PromoteModelRequest(FlowRequest):
    """Ask that a registered version become the champion, if it passes the gate. The gate cannot be skipped."""

    params_file: ParamsFile = "params.yaml"
    version: int | None = Field(
        default=None,
        title="Model version",
        description="Number of the registered version. Empty: the newest one.",
        ge=1,
        le=1_000_000_000,
    )


class RollbackDataRequest(FlowRequest):
    """Ask that an older version of the data come back, its bytes verified, as a new commit."""

    version: str = Field(
        title="Data version",
        description="The version to bring back, for example v3.",
        pattern=r"^v[1-9][0-9]*$",
        max_length=12,
    )
    restore_params: bool = Field(
        default=False,
        title="Restore the parameters too",
        description="Bring back the parameter file of that version, so that a run finds everything made already.",
    )
