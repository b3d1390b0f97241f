"""Parameters of issues and pull requests. Each number's unit is in its name; its source is in params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.section import Section


class IssueSource(BaseModel):
    """Files of GitHub events as GH Archive gives them: `.json.gz`, one JSON object a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Names the source in tables and lineage; unique in the list."""
    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    """Relative to the workspace: a directory (every `.json.gz` in it, at any depth), a file, or a glob of files."""
    license: str | None
    """SPDX expression declared for threads whose events do not tell the repository's; null: only what they tell."""


class IngestIssuesConfig(Section):
    """Which conversations are collected."""

    sources: tuple[IssueSource, ...]
    """None at all is fine: the artifact then holds no thread."""
    max_line_bytes: Annotated[int, Field(ge=1024, le=2**26)]
    """A longer event is dropped unread."""
    max_thread_bytes: Annotated[int, Field(ge=1024, le=2**30)]
    """A thread with more text is dropped."""
    shard_bytes: Annotated[int, Field(ge=1024)]
    """A shard is closed when its text reaches this size."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "IngestIssuesConfig":
        names = [source.name for source in self.sources]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"two sources share the name {doubled[0]!r}; give each its own")
        return self


class RenderIssuesConfig(Section):
    """Which conversations are worth reading, and how they are written down."""

    max_message_lines: Annotated[int, Field(ge=2)]
    """A longer message loses its middle."""
    last_message_lines: Annotated[int, Field(ge=1)]
    """So many of the lines that a cut message keeps are its last ones."""
    min_text_chars: Annotated[int, Field(ge=0)]
    """Of all messages together, without the title."""
    min_users: Annotated[int, Field(ge=1)]
    """With so many authors of messages a thread of any length is kept; with fewer, the two limits below hold."""
    max_monologue_chars: Annotated[int, Field(ge=1)]
    max_monologue_events: Annotated[int, Field(ge=1)]
    """Messages, closings and reopenings."""
    min_english_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    """Of the thread's prose; 0 turns the rule off."""
    min_prose_bytes: Annotated[int, Field(ge=1)]
    """With less prose no language can be told; such a thread passes."""
    min_bare_username_chars: Annotated[int, Field(ge=1)]
    """A shorter login is replaced only where it is mentioned with its @."""

    @model_validator(mode="after")
    def _last_lines_fit(self) -> "RenderIssuesConfig":
        if self.last_message_lines >= self.max_message_lines:
            raise ValueError(
                f"last_message_lines {self.last_message_lines} leaves no room for a beginning in max_message_lines "
                f"{self.max_message_lines}; lower one or raise the other"
            )
        return self
