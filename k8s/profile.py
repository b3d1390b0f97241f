"""A profile: a pool of devices as we use it, read from `k8s/profiles/NAME.yaml`. It says where, never what."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from k8s.cluster_profile import Cluster

PROFILES_DIR = Path(__file__).parent / "profiles"

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class ProfileError(Exception):
    """There is no such profile, or it cannot be used; one sentence with the mend."""


class Profile(BaseModel):
    """One pool. No field but the last has a default: the file states each constant with its source."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    device: str
    """Kind of device, as `components/planning/hardware.py` names it."""
    devices_per_node: Annotated[int, Field(ge=1)] | None
    """None for the machine that asks."""
    nodes: Annotated[int, Field(ge=1)]
    network_bytes_per_second_per_node: Positive
    """One direction."""
    price_per_device_hour_usd: NotNegative
    watts_per_device: NotNegative
    power_usage_effectiveness: Annotated[float, Field(ge=1)]
    carbon_kg_per_kwh: NotNegative
    device_hours_between_interruptions: Positive
    """Failures, and devices that are taken away."""
    checkpoint_stall_seconds: Positive
    cluster: Cluster | None = None
    """How to run there; None for a pool that is only planned with, and for the machine that asks."""

    @model_validator(mode="after")
    def _nodes_of_a_cluster_are_known(self) -> "Profile":
        if self.cluster and self.devices_per_node is None:
            raise ValueError("devices_per_node is null, which is this machine; a cluster needs the number")
        return self


def load_profile(name_or_path: str) -> Profile:
    """The profile of that name, or the file if it ends in .yaml; ProfileError says what is wrong with it."""
    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else PROFILES_DIR / f"{name_or_path}.yaml"
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return Profile.model_validate(raw)
    except FileNotFoundError:
        raise ProfileError(
            f"there is no profile {name_or_path}; there are {', '.join(profile_names())}, or name a .yaml file"
        ) from None
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ProfileError(f"profile {path} cannot be read: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise ProfileError(f"profile {path} cannot be used; mend {_faults(error)}") from None


def profile_names() -> list[str]:
    """Of the profiles that come with starloom."""
    return sorted(path.stem for path in PROFILES_DIR.glob("*.yaml"))


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg'].lower()}" for fault in faults)
