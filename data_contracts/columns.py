"""The columns of a table of source files: the one shape that every corpus step reads and writes.

A step carries columns through unchanged unless changing one is its job, so that any row of any artifact
names the repository, path and commit that it came from. The schemas are declared here, beneath both the
steps that write them and the contracts that hold them.
"""

import pyarrow as pa

CODE_FILES: pa.Schema = pa.schema(
    [
        # First 32 hex digits of sha256 over repository, path, commit and content digest, joined by NUL.
        # Fixed when the file is ingested: redaction changes the content but not this.
        pa.field("file_id", pa.string(), nullable=False),
        # The text itself, UTF-8. Large: one shard may hold more than 2 GiB of it.
        pa.field("content", pa.large_string(), nullable=False),
        # sha256 of the content's UTF-8 bytes, 64 lower-case hex digits.
        pa.field("content_sha256", pa.string(), nullable=False),
        # Length of the content in UTF-8 bytes.
        pa.field("size_bytes", pa.int64(), nullable=False),
        # Name of the source in params.yaml that the file was ingested from.
        pa.field("source", pa.string(), nullable=False),
        # Repository, distribution or archive that holds the file; what an opt-out names.
        pa.field("repository", pa.string(), nullable=False),
        # Path inside the repository, with forward slashes.
        pa.field("path", pa.string(), nullable=False),
        # Git commit the file was read at; null where the source is not under Git.
        pa.field("commit", pa.string(), nullable=True),
        # SPDX expression; null where no licence is known.
        pa.field("license", pa.string(), nullable=True),
        # Language as components/sources/languages.py spells it, lower case ("python", "cpp"); null where none is
        # recognized.
        pa.field("language", pa.string(), nullable=True),
        # Ending of the path's last part, lower case, with its dot; "" if there is none.
        pa.field("extension", pa.string(), nullable=False),
        # Stars of the repository when it was collected; null where not known.
        pa.field("stars", pa.int64(), nullable=True),
        # "train", "validation" or "test"; null before split_corpus.
        pa.field("split", pa.string(), nullable=True),
    ]
)
"""Columns of `files-*.parquet`, one row per kept file."""

DROPPED_FILES: pa.Schema = pa.schema(
    [
        # As in CODE_FILES, so that a dropped row can be found in the step's input.
        pa.field("file_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("commit", pa.string(), nullable=True),
        # Length of the dropped content in bytes.
        pa.field("size_bytes", pa.int64(), nullable=False),
        # What dropped it, in snake case, for example max_line_length.
        pa.field("rule", pa.string(), nullable=False),
        # What the rule observed, as text, for example "1874".
        pa.field("value", pa.string(), nullable=False),
        # What the rule allows, as text, for example "1000".
        pa.field("threshold", pa.string(), nullable=False),
        # What else explains it: the file kept in its place, the matched span; "" if nothing does.
        pa.field("detail", pa.string(), nullable=False),
    ]
)
"""Columns of `dropped.parquet`, one row per file that the step did not keep, with the reason."""
