"""Parameters of the notebooks' conversion. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.section import Section

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class ConvertNotebooksConfig(Section):
    """What notebooks become, and which are not worth it."""

    kinds: Annotated[tuple[Literal["notebook_script", "notebook"], ...], Field(min_length=1)]
    """What each notebook gives: a script, a document of text, code and output in turn, or both."""
    max_json_depth: Annotated[int, Field(ge=8, le=200)]
    """Lists and objects inside one another; cells and their outputs need 6, a chart in an output up to some 20."""
    max_json_values: Annotated[int, Field(ge=1)]
    """List elements and object members of a whole notebook; each may take some 80 bytes of memory."""
    min_code_chars: Annotated[int, Field(ge=1)]
    """Characters of the code cells together; a notebook with less gives nothing."""

    min_guess_probability: Fraction
    """How sure the guess must be when the metadata names no language (magika's score); scripts only."""
    max_line_length_chars: Annotated[int, Field(ge=1)]
    """Of scripts, as the next two: a script is source code, and a document is not wrapped."""
    max_mean_line_length_chars: Annotated[float, Field(gt=0)]
    min_alphanumeric_fraction: Fraction

    document_languages: Annotated[tuple[str, ...], Field(min_length=1)]
    """Declared languages whose notebooks become documents; nothing is guessed for them."""
    markdown: Literal["kept", "stripped"]
    """`kept` is StarCoder2's, `stripped` (of tags, `#` and line ends) StarCoder's."""
    output_kinds: tuple[Literal["stdout", "stderr", "result", "error"], ...]
    """Which outputs of the last cell before the next text are told."""
    max_output_chars: Annotated[int, Field(ge=1)]
    """A longer output is cut there and ends with `[...]`."""

    @field_validator("kinds", "document_languages", "output_kinds")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"a name is given twice in {', '.join(names)}; write each once")
        return names
