"""Parameters of commits. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class HistorySource(BaseModel):
    """The history of a Git repository on disk, bare or not, shallow or not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Names the source in tables and lineage; unique in the list."""
    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    """Where the repository lies, relative to the workspace."""
    repository: Annotated[str, Field(min_length=1)]
    """`owner/name` that its commits are attributed to."""
    license: str | None
    """SPDX expression declared for every file that no licence file of its own covers; null: only detected ones."""
    revision: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    """Commit, tag or branch whose history is read; resolved to a commit before anything is."""
    exclude: tuple[str, ...]
    """Glob patterns of paths whose changes are not read; one without a slash matches at any depth."""


class IngestCommitsConfig(Section):
    """Whose history is collected."""

    histories: tuple[HistorySource, ...]
    """None at all is fine: the artifact then holds no commit."""
    max_files_per_commit: Annotated[int, Field(ge=1, le=1000)]
    """A commit that changes more files is dropped; a renamed file is one."""
    max_file_bytes: Annotated[int, Field(ge=1, le=2**30)]
    """A file that is larger before or after the commit is dropped unread."""
    shard_bytes: Annotated[int, Field(ge=1024)]
    """A shard is closed when its text reaches this size."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "IngestCommitsConfig":
        names = [history.name for history in self.histories]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"two histories share the name {doubled[0]!r}; give each its own")
        return self


class RenderCommitsConfig(Section):
    """Which commits are worth reading, and how they are written down."""

    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    """Commits of files in other languages are dropped; names as `components/sources/languages.py` spells them."""
    max_file_chars: Annotated[int, Field(ge=1)]
    """A file that has so many characters before or after the commit, or more, is dropped."""
    small_change_lines: Annotated[int, Field(ge=0)]
    """A change that spans at most so many lines on both sides is small."""
    small_change_keep: Probability
    large_change_lines: Annotated[int, Field(ge=1)]
    """A change that spans at least so many lines on either side is large."""
    large_change_keep: Probability
    subject_phrases: tuple[Annotated[str, Field(min_length=1)], ...]
    """A subject that holds one of these, in whatever case, is dropped."""
    whole_subjects: tuple[str, ...]
    """A subject that is one of these, in whatever case, is dropped."""
    min_subject_words: Annotated[int, Field(ge=1)]
    """A subject of fewer words is short."""
    short_subject_keep: Probability
    max_chars_per_word: Annotated[float, Field(gt=0.0)]
    """A subject with more characters per word on average, spaces counted, is dropped."""
    language_keep: dict[str, Probability]
    """Share of a language's commits that is kept; 1 for a language that is not named."""
    extension_keep: dict[str, Probability]
    """The same for file endings, in lower case with their dot; both shares apply."""
    whole_file_fraction: Probability
    """Share of commits that are written with the whole file; the others with a window around the change."""
    max_context_lines: Annotated[int, Field(ge=0)]
    """Lines that a window holds before and after the change: from none to so many, each number as likely."""
    message_last_fraction: Probability
    """Share of commits whose message stands last, so that a model learns to write it."""
    seed: int

    @model_validator(mode="after")
    def _small_and_large_differ(self) -> "RenderCommitsConfig":
        if self.small_change_lines >= self.large_change_lines:
            raise ValueError(
                f"small_change_lines {self.small_change_lines} reaches large_change_lines {self.large_change_lines}; "
                "lower one or raise the other"
            )
        return self
