"""The step that reads who asked to be left out; every step that collects or releases text asks its artifact.

It looks at the lists at each build: a name that was added since computes anew what stands on it.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import SourceError
from components.fingerprint import canonical_json
from components.section import Summary
from components.sources.config import CollectOptOutsConfig
from components.sources.opt_outs import OPT_OUTS_FILE

_Repository = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
_User = Annotated[str, Field(pattern=r"^[^/\s]+$")]


class CollectOptOutsSummary(Summary):
    """How many asked; who they are stands in the artifact alone."""

    repositories: int
    users: int


class _Listed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: tuple[_Repository, ...] = ()
    users: tuple[_User, ...] = ()


def resolve_sources(config: CollectOptOutsConfig, workspace: Path) -> dict[str, str]:
    """The sha256 of each list; SourceError for one that is not there."""
    return {name: hashlib.sha256(_read(workspace / name)).hexdigest() for name in config.opt_out_files}


def run(config: CollectOptOutsConfig, *, workspace: Path, out: Path) -> CollectOptOutsSummary:
    """Write `opt_outs.json`, all lists as one; SourceError for a list that cannot be read or names nothing real."""
    lists = [_parse(name, _read(workspace / name)) for name in config.opt_out_files]
    repositories = sorted({name.lower() for listed in lists for name in listed.repositories})
    users = sorted({name.lower() for listed in lists for name in listed.users})
    (out / OPT_OUTS_FILE).write_bytes(canonical_json({"repositories": repositories, "users": users}) + b"\n")
    return CollectOptOutsSummary(repositories=len(repositories), users=len(users))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"the list of opt-outs {path} cannot be read ({error.strerror}); restore it, or take it out of "
            "collect_opt_outs.opt_out_files if nobody has asked"
        ) from None


def _parse(name: str, content: bytes) -> _Listed:
    try:
        raw: Any = YAML(typ="safe", pure=True).load(content.decode())
        return _Listed.model_validate(raw or {})
    except (YAMLError, UnicodeDecodeError) as error:
        raise SourceError(f"the list of opt-outs {name} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise SourceError(
            f"the list of opt-outs {name} cannot be used: {place} is {fault['input']!r}; write `repositories` as "
            "owner/name and `users` as login"
        ) from None
