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
        # What the text is: "file", "notebook_script", "notebook" (text, code and output), "issue" or "commit".
        # The last three carry marks (components/markup.py).
        pa.field("kind", pa.string(), nullable=False),
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
        # Forks of the repository when it was collected; null where not known.
        pa.field("forks", pa.int64(), nullable=True),
        # When the text last changed at its origin, seconds since 1970 in UTC; null where not known.
        pa.field("updated_at", pa.int64(), nullable=True),
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
"""Columns of `dropped-*.parquet`, one row per file that the step did not keep, with the reason."""

ISSUE_THREADS: pa.Schema = pa.schema(
    [
        # As in CODE_FILES; the content digest is taken over title and events.
        pa.field("file_id", pa.string(), nullable=False),
        # UTF-8 bytes of the title and all texts.
        pa.field("size_bytes", pa.int64(), nullable=False),
        # Of the sources that hold an event of the thread, the one that stands first in params.yaml.
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        # "issues/123" or "pull/123", as in the thread's address.
        pa.field("path", pa.string(), nullable=False),
        # Always null: a thread stands beside the history.
        pa.field("commit", pa.string(), nullable=True),
        # Of the repository, where an event tells it; else what the source declares.
        pa.field("license", pa.string(), nullable=True),
        pa.field("stars", pa.int64(), nullable=True),
        pa.field("forks", pa.int64(), nullable=True),
        # Time of the last event, seconds since 1970 in UTC.
        pa.field("updated_at", pa.int64(), nullable=True),
        # As last seen; null where no event tells it.
        pa.field("title", pa.string(), nullable=True),
        # "open" or "closed" after the last event; null where no event tells it.
        pa.field("state", pa.string(), nullable=True),
        pa.field("is_pull_request", pa.bool_(), nullable=False),
        # By time, then by the event's number. "element" is what Parquet calls the entries of a list.
        pa.field(
            "events",
            pa.list_(
                pa.field(
                    "element",
                    pa.struct(
                        [
                            # Login at the time of the event; "ghost" where the account was gone.
                            pa.field("author", pa.string(), nullable=False),
                            # "opened", "comment", "review", "review_comment", "closed" or "reopened".
                            pa.field("kind", pa.string(), nullable=False),
                            # Markdown as it was written; "" for what has none.
                            pa.field("text", pa.string(), nullable=False),
                            # Seconds since 1970 in UTC.
                            pa.field("created_at", pa.int64(), nullable=False),
                        ]
                    ),
                    nullable=False,
                )
            ),
            nullable=False,
        ),
        # Unique within the repository, issues and pull requests together.
        pa.field("number", pa.int64(), nullable=False),
    ]
)
"""Columns of `threads-*.parquet`, one row per issue or pull request with its conversation."""

COMMIT_CHANGES: pa.Schema = pa.schema(
    [
        # As in CODE_FILES; the content digest is taken over both texts, so that it is never that of the file itself.
        pa.field("file_id", pa.string(), nullable=False),
        # UTF-8 bytes of both texts together.
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("repository", pa.string(), nullable=False),
        # Of the file after the commit; of a deleted file before it.
        pa.field("path", pa.string(), nullable=False),
        pa.field("commit", pa.string(), nullable=False),
        # Of the file, by its own header or the licence files of the newest commit.
        pa.field("license", pa.string(), nullable=True),
        pa.field("stars", pa.int64(), nullable=True),
        pa.field("forks", pa.int64(), nullable=True),
        # When the commit was made, seconds since 1970 in UTC; null where the commit tells none that can be.
        pa.field("updated_at", pa.int64(), nullable=True),
        pa.field("language", pa.string(), nullable=True),
        pa.field("extension", pa.string(), nullable=False),
        # Name of the author as the commit gives it, without the address.
        pa.field("author", pa.string(), nullable=False),
        # The message's first paragraph on one line, as Git's own subject; "" if there is none.
        pa.field("subject", pa.string(), nullable=False),
        # The whole message with its subject, without the line ends after it.
        pa.field("message", pa.string(), nullable=False),
        # The file before the commit; "" if the commit adds it.
        pa.field("before", pa.large_string(), nullable=False),
        # The file after the commit; "" if the commit deletes it.
        pa.field("after", pa.large_string(), nullable=False),
        # Path before the commit where the commit renames the file; null where it keeps its path.
        pa.field("old_path", pa.string(), nullable=True),
        # Files that the commit changes in all; a renamed file is one.
        pa.field("num_files_in_commit", pa.int64(), nullable=False),
    ]
)
"""Columns of `changes-*.parquet`, one row per file that a commit changes."""

REDACTIONS: pa.Schema = pa.schema(
    [
        pa.field("file_id", pa.string(), nullable=False),
        # "email", "ip_address", "key", "password", "name", "username" or "id".
        pa.field("entity", pa.string(), nullable=False),
        # Where it stood in the content before redaction: UTF-8 bytes, the end excluded. The secret itself is not kept.
        pa.field("start_byte", pa.int64(), nullable=False),
        pa.field("end_byte", pa.int64(), nullable=False),
        # Name of the rule.
        pa.field("rule", pa.string(), nullable=False),
    ]
)
"""Columns of `redactions-*.parquet`, in the order of the files, then of the text."""

BENCHMARK_OVERLAPS: pa.Schema = pa.schema(
    [
        *(DROPPED_FILES.field(name) for name in ("file_id", "source", "repository", "path", "commit", "size_bytes")),
        # The problem, as eval_problems names it.
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("task_id", pa.string(), nullable=False),
        # Which text of the problem the file holds whole: "docstring", "canonical_solution", ...; or "ngram".
        pa.field("kind", pa.string(), nullable=False),
        # The span in the content's UTF-8 bytes: from start_byte on, up to and without end_byte.
        pa.field("start_byte", pa.int64(), nullable=False),
        pa.field("end_byte", pa.int64(), nullable=False),
    ]
)
"""Columns of `overlaps-*.parquet`: one row per overlap of a dropped file with a benchmark, in the files' order."""

EVAL_PROBLEMS: pa.Schema = pa.schema(
    [
        # Unique within its benchmark, for example "HumanEval/0".
        pa.field("task_id", pa.string(), nullable=False),
        # As collect_problems.problem_files has it; "starloom" for our own.
        pa.field("benchmark", pa.string(), nullable=False),
        # What it is for: "search" always, "evaluate" where the five columns after this one have a value.
        pa.field("uses", pa.list_(pa.string()), nullable=False),
        # As `components/sources/languages.py` spells it.
        pa.field("language", pa.string(), nullable=True),
        # What a model is given: imports, signature, docstring.
        pa.field("prompt", pa.string(), nullable=True),
        # What makes it a correct program when appended to the prompt.
        pa.field("canonical_solution", pa.string(), nullable=True),
        # A program that defines check(candidate); it raises if the candidate is wrong.
        pa.field("test", pa.string(), nullable=True),
        # Name of the function that is the candidate.
        pa.field("entry_point", pa.string(), nullable=True),
        # What gives the problem away, by kind: "docstring", "canonical_solution", "program", "question", ...
        pa.field(
            "texts",
            pa.list_(
                pa.struct(
                    [pa.field("kind", pa.string(), nullable=False), pa.field("text", pa.string(), nullable=False)]
                )
            ),
            nullable=False,
        ),
    ]
)
"""Columns of `problems.parquet`, rows by benchmark in the order they were collected, then as their file has them."""
