"""Parameters of the evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from components.section import Section


class CollectProblemsConfig(Section):
    """Which benchmark problems the corpus must be free of and the model is measured on."""

    problem_files: tuple[str, ...]
    """Further JSONL or JSONL.gz files in HumanEval's layout, relative to the workspace; starloom's own come always."""


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
