"""Where and how starloom runs, from the environment. Nothing here changes a fingerprint.

STARLOOM_WORKSPACE      directory with params.yaml and dvc.yaml (default: the current one)
STARLOOM_PREFECT_PORT   port of the embedded Prefect server (default: 4200)
STARLOOM_MLFLOW_PORT    port of the embedded MLflow server (default: 5000)
STARLOOM_TRACKING_URI   MLflow server that runs and models are written to (default: none for a single
                        step; `starloom up` and `starloom run` set it to the embedded one)
STARLOOM_DVC_REMOTE     where DVC pushes data versions, a path or s3://bucket/prefix
                        (default: .starloom/dvc-remote in the workspace)
STARLOOM_RUNNER         who does the work of steps over many shards: `local` (default), a pool of processes, or
                        `ray`, the cluster at RAY_ADDRESS; its nodes see the workspace under the same path
STARLOOM_WORKERS        pieces at work at the same time: processes of the local pool (default: the processors that this
                        process may use), or tasks on Ray (default: the processors that its cluster has)
STARLOOM_IMAGE_DIGEST   digest of the container image, recorded as provenance where there is one
STARLOOM_DEVICE_COSTS   what a device-hour of the pool takes, as JSON, for the record of a training (set by launchers)
STARLOOM_CHECKPOINT_STORE
                        where a training keeps its checkpoints beside the disk, s3://bucket/prefix (default: none)
STARLOOM_RANKS          who runs the ranks of a training, a command as a JSON list; see `model/launcher.py` (set by
                        launchers; default: the step itself, on its machine)
STARLOOM_RECORD_STORE   where records and ledgers are kept beside the workspace, for all workspaces that name it: a path
                        or s3://bucket/prefix (default: none)
STARLOOM_S3_ENCRYPTION  what S3 shall encrypt objects of the record store with: AES256, aws:kms or aws:kms:KEY
                        (default: what the bucket says)
STARLOOM_PROFILE        where runs train that name no profile, a name or a .yaml file of the workspace (default: local)
STARLOOM_DATABASE_URL   the PostgreSQL server on which the embedded servers keep what they know,
                        postgresql://USER:PASSWORD@HOST:PORT, with the databases starloom_prefect, starloom_mlflow and,
                        for the index of the lineage, starloom_lineage (default: none, SQLite in the workspace)
STARLOOM_HANG_SECONDS   after how long without progress a rank of a training ends itself (default: 600)
STARLOOM_EVENTS         `json`: a step tells its progress as JSON lines on stdout (set by launchers)
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from components.errors import ParamsError
from components.planning.run_cost import DeviceCosts
from model.train_request import CheckpointStoreUrl, require_store_url

_ENCRYPTION = re.compile(r"AES256|aws:kms(:[A-Za-z0-9:/_-]+)?")
_DATABASE = re.compile(r"postgresql://[^/?#@\s]+@[^/?#@\s]+(\?sslmode=[a-z-]+)?")


def _require_place(place: str) -> str:
    return require_store_url(place) if "://" in place else place


def _require_encryption(encryption: str) -> str:
    if not _ENCRYPTION.fullmatch(encryption):
        raise PydanticCustomError("encryption", "give AES256, aws:kms or aws:kms:KEY")
    return encryption


def _require_database(url: SecretStr) -> SecretStr:
    if not _DATABASE.fullmatch(url.get_secret_value()):
        raise PydanticCustomError(
            "database", "give postgresql://USER:PASSWORD@HOST:PORT, perhaps with ?sslmode=MODE, in URL escapes"
        )
    return url


Port = Annotated[int, Field(ge=1024, le=65_535)]

DEVICE_COSTS_VARIABLE = "STARLOOM_DEVICE_COSTS"
RECORD_STORE_VARIABLE = "STARLOOM_RECORD_STORE"
RANKS_VARIABLE = "STARLOOM_RANKS"
CHECKPOINT_STORE_VARIABLE = "STARLOOM_CHECKPOINT_STORE"
DATABASE_VARIABLE = "STARLOOM_DATABASE_URL"

_VARIABLES = {
    "workspace": "STARLOOM_WORKSPACE",
    "prefect_port": "STARLOOM_PREFECT_PORT",
    "mlflow_port": "STARLOOM_MLFLOW_PORT",
    "tracking_uri": "STARLOOM_TRACKING_URI",
    "dvc_remote": "STARLOOM_DVC_REMOTE",
    "runner": "STARLOOM_RUNNER",
    "workers": "STARLOOM_WORKERS",
    "image_digest": "STARLOOM_IMAGE_DIGEST",
    "device_costs": DEVICE_COSTS_VARIABLE,
    "checkpoint_store": CHECKPOINT_STORE_VARIABLE,
    "ranks": RANKS_VARIABLE,
    "record_store": RECORD_STORE_VARIABLE,
    "s3_encryption": "STARLOOM_S3_ENCRYPTION",
    "profile": "STARLOOM_PROFILE",
    "database_url": DATABASE_VARIABLE,
}


class Settings(BaseModel):
    """The settings of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: Path
    prefect_port: Port = 4200
    mlflow_port: Port = 5000
    tracking_uri: str | None = None
    dvc_remote: str | None = None
    runner: Literal["local", "ray"] = "local"
    workers: Annotated[int, Field(ge=1, le=65_536)] | None = None
    image_digest: str | None = None
    device_costs: DeviceCosts | None = None
    checkpoint_store: CheckpointStoreUrl | None = None
    ranks: tuple[str, ...] = ()
    record_store: Annotated[str, AfterValidator(_require_place)] | None = None
    s3_encryption: Annotated[str, AfterValidator(_require_encryption)] | None = None
    profile: str = "local"
    database_url: Annotated[SecretStr, AfterValidator(_require_database)] | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the variables above; ParamsError names one that cannot be used."""
        source = os.environ if environment is None else environment
        given: dict[str, Any] = {
            name: source[variable] for name, variable in _VARIABLES.items() if source.get(variable)
        }
        for name in ("device_costs", "ranks"):
            if name in given:
                given[name] = _object_of(given[name])
        given["workspace"] = str(Path(given.get("workspace", Path.cwd())).resolve())
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            variable = _VARIABLES[str(fault["loc"][0])]
            given_value = re.sub(
                r"^(.)([a-z0-9+]*://)?.*@", r"\1\2***@", repr(fault["input"])
            )  # a password in an address
            raise ParamsError(f"{variable}={given_value} cannot be used: {_sentence(fault['msg'])}") from None

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these settings, but the database: that is the servers' alone."""
        values = self.model_dump(mode="json", exclude_none=True, exclude={"database_url"})
        return {
            _VARIABLES[name]: json.dumps(value) if isinstance(value, dict | list) else str(value)
            for name, value in values.items()
            if value != []
        }

    @property
    def artifacts_dir(self) -> Path:
        """Published artifacts, one directory each; DVC's outs."""
        return self.workspace / "artifacts"

    @property
    def state_dir(self) -> Path:
        """What starloom keeps for itself: staging, records, services, the local DVC remote."""
        return self.workspace / ".starloom"

    @property
    def staging_dir(self) -> Path:
        """Artifacts in the making, one directory for each fingerprint."""
        return self.state_dir / "staging"

    @property
    def records_dir(self) -> Path:
        """Every record ever published here, named by its digest."""
        return self.state_dir / "records"

    @property
    def records_sent_dir(self) -> Path:
        """Which of them the record store has, an empty file for each."""
        return self.state_dir / "records-sent"

    @property
    def ledger_dir(self) -> Path:
        """The ledgers of a workspace that names no record store."""
        return self.state_dir / "ledger"

    @property
    def lineage_index(self) -> Path:
        """The index of a workspace that names no database."""
        return self.state_dir / "lineage.db"

    @property
    def reports_dir(self) -> Path:
        """What people look at: data docs, loss curves."""
        return self.workspace / "reports"

    @property
    def prefect_api_url(self) -> str:
        """Address of the embedded Prefect server's API."""
        return f"http://127.0.0.1:{self.prefect_port}/api"

    @property
    def mlflow_url(self) -> str:
        """Address of the embedded MLflow server."""
        return f"http://127.0.0.1:{self.mlflow_port}"


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _object_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # pydantic says what is wrong with it
