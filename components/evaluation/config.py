"""Parameters of the evaluation."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from components.section import Section


class _ProblemFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(min_length=1)]
    """JSON Lines, plain or gzipped, relative to the workspace."""
    benchmark: Annotated[str, Field(min_length=1)]
    """What its problems are filed under; several files may be one benchmark."""


class KnownProblemFile(_ProblemFile):
    """A file in a published layout."""

    layout: Literal["human_eval", "human_eval_x", "infilling", "mbpp", "apps", "gsm8k", "ds_1000"]


class MappedProblemFile(_ProblemFile):
    """A file in any other layout."""

    fields: Annotated[dict[str, str], Field(min_length=1)]
    """Kind of text to the file's field: {"description": "question", "solution": "answer"}; `task_id` names the problem
    and may be left out."""


def _form(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    is_mapped = isinstance(value, MappedProblemFile) or (isinstance(value, dict) and "fields" in value)
    return "mapped" if is_mapped else "known"


ProblemFile = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[KnownProblemFile, Tag("known")]
    | Annotated[MappedProblemFile, Tag("mapped")],
    Discriminator(_form),
]
"""A bare path stands for a file whose layout is told by its fields and whose benchmark is its name without endings."""


class CollectProblemsConfig(Section):
    """Which benchmark problems the corpus must be free of and the model is measured on."""

    problem_files: tuple[ProblemFile, ...]
    """Further benchmarks; starloom's own come always."""


class EvaluateModelConfig(Section):
    """What is measured, on how much."""

    split: Literal["validation", "test"]
    max_held_out_bytes: Annotated[int, Field(ge=1024)]
    """At most so many bytes of held-out files are scored, chosen by `seed`, whole files."""
    baseline_order: Annotated[int, Field(ge=0, le=6)]
    """Bytes of context of the counting model that the network has to beat."""
    batch_size: Annotated[int, Field(ge=1)]
    num_fill_in_middle_cases: Annotated[int, Field(ge=0)]
    """Held-out lines to be filled in, scored by exact match."""
    max_new_tokens: Annotated[int, Field(ge=1)]
    """Length of a greedy completion of a problem."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
