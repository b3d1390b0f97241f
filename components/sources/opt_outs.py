"""Who asked to be left out: repositories and users, read from the artifact opt_outs.

Names are compared without regard to case, as GitHub does. A user's opt-out covers every repository that the user owns.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from components.errors import CorruptArtifactError

OPT_OUTS_FILE = "opt_outs.json"


class OptOuts(BaseModel):
    """The names, in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: frozenset[str]
    users: frozenset[str]

    def repository(self, name: str) -> bool:
        """Whether `owner/name` is left out, by itself or with all of its owner's."""
        lowered = name.lower()
        return lowered in self.repositories or lowered.partition("/")[0] in self.users

    def user(self, login: str) -> bool:
        """Whether what this user wrote is left out."""
        return login.lower() in self.users


class _Listed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: tuple[str, ...]
    users: tuple[str, ...]


def read_opt_outs(artifact: Path) -> OptOuts:
    """The names in the artifact; CorruptArtifactError if its file is missing or is something else."""
    path = artifact / OPT_OUTS_FILE
    try:
        listed = _Listed.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise CorruptArtifactError(f"{artifact} lacks its {OPT_OUTS_FILE}; make the artifact anew") from None
    except ValidationError as error:
        told = " ".join(str(error).split())
        raise CorruptArtifactError(f"{path} is no list of opt-outs ({told}); make the artifact anew") from None
    return OptOuts(
        repositories=frozenset(name.lower() for name in listed.repositories),
        users=frozenset(name.lower() for name in listed.users),
    )
