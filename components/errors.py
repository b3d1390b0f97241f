"""What can go wrong for a reason that a person can mend.

    StarloomError                 one sentence: what, which value, the mend; the command line prints it, exit code 2
    |-- ParamsError               params.yaml: unknown key, value out of range, not YAML
    |-- SourceError               a source that does not exist or cannot be read
    |-- MissingInputError         an input artifact, record or object is not there; names the step that makes it
    |-- EmptyArtifactError        a step kept nothing
    |-- CorruptArtifactError      the bytes are not those that the record names
    |-- ContractError             a blocking contract is broken; carries the report
    |-- WorkspaceBusyError        another run holds the workspace
    |-- StorageError              disk full, read-only directory, an object store or a database that cannot be used
    |-- TrainingError             a training process failed or diverged
    |-- PreemptedError            a training was asked to stop and has saved itself; exit code 75, run it again
    |-- WorkerError               the processes that share a step's work died, or Ray does not answer
    |-- VersioningError           Git or DVC refused
    |-- RegistryError             no such model or version, the registry does not answer or is not the ledger's
    `-- ServiceError              a service does not start, its port is taken

Anything else that escapes is our fault and keeps its traceback.
"""


class StarloomError(Exception):
    """A failure that its reader can mend; the message says how."""


class ParamsError(StarloomError):
    """The parameters are not what the steps can take."""


class SourceError(StarloomError):
    """A source does not exist or cannot be read."""


class MissingInputError(StarloomError):
    """An input artifact has not been made yet, or an object was never put."""


class EmptyArtifactError(StarloomError):
    """A step kept nothing, so nothing can follow it."""


class CorruptArtifactError(StarloomError):
    """An artifact's bytes differ from its record."""


class ContractError(StarloomError):
    """An artifact breaks a blocking contract and was not published."""


class WorkspaceBusyError(StarloomError):
    """Another run holds the workspace."""


class StorageError(StarloomError):
    """The disk is full or may not be written, or an object store or a database cannot be used."""


class TrainingError(StarloomError):
    """A training process failed."""


class PreemptedError(StarloomError):
    """A training was asked to stop and saved its last step first."""


class WorkerError(StarloomError):
    """The processes that share a step's work died or cannot be reached."""


class VersioningError(StarloomError):
    """Git or DVC could not record or restore a version."""


class RegistryError(StarloomError):
    """The model registry has no such thing, does not answer, or is not the one that the ledger is of."""


class ServiceError(StarloomError):
    """A service cannot start or does not answer."""
