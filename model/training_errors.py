"""What can go wrong in a training run, each as one sentence: what, which value, the mend.

TrainingFailedError           the run stopped before its last step; its last checkpoint stands
|-- LayoutError               the layout of ranks does not divide the model, or other ranks were started than it has
|-- CheckpointError           a checkpoint belongs to another run
|-- RequestError              what a rank was started with cannot be used: its request, or a variable
`-- TrainingPreemptedError    the run was asked to stop and has saved itself; start it again to go on
"""


class TrainingFailedError(Exception):
    """A training run stopped before its last step."""


class LayoutError(TrainingFailedError):
    """The layout of ranks cannot be had."""


class CheckpointError(TrainingFailedError):
    """A checkpoint belongs to another run."""


class RequestError(TrainingFailedError):
    """What a rank was started with cannot be used."""


class TrainingPreemptedError(TrainingFailedError):
    """The run was asked to stop; it saved its last step first."""
