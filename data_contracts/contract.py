"""A contract is data: views of an artifact, each a small table with the expectations it is held to.

Two tiers keep the cost of a check bounded however large the artifact is: `ParquetShards` and `RowTotals` see
every shard but only its footer, `ParquetRows` sees values but of at most `max_rows` rows, and never the text
of the files. `views.py` loads them.
"""

import hashlib
import json
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_contracts.expectations import Expectation, HasColumns


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Frozen):
    """A column that a view declares."""

    name: str
    type: str
    """As Arrow writes it, for example "int64"; of JSON: "string", "int64", "double" or "bool"."""


class ParquetRows(_Frozen):
    """Rows of the Parquet files that match `files`, in file order, without the columns `not_loaded`.

    All rows up to `max_rows`; else a seeded sample of so many, taken from shards all over the artifact.
    """

    kind: Literal["parquet_rows"] = "parquet_rows"
    name: str
    files: str
    """Glob in the artifact's directory."""
    columns: tuple[Column, ...]
    not_loaded: tuple[str, ...] = ()
    """Declared columns whose type is checked and whose values are left on disk."""
    key: tuple[str, ...]
    """Columns that tell a person which row it is."""
    max_rows: Annotated[int, Field(ge=1)]
    seed: int
    optional: bool = False
    """Whether no file at all is as good as files that hold it: a table that is written only where it has rows."""
    expectations: tuple[Expectation, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """What an expectation of this view may name."""
        return tuple(column.name for column in self.columns if column.name not in self.not_loaded)


class ParquetShards(_Frozen):
    """One row per Parquet file that matches `files`: `file`, `rows`, `bytes` and `NAME_nulls` of each `nulls_of`.

    Read from the footers alone. A file that cannot be read has null rows; null counts that its writer did
    not record are null.
    """

    kind: Literal["parquet_shards"] = "parquet_shards"
    name: str
    files: str
    nulls_of: tuple[str, ...] = ()
    expectations: tuple[Expectation, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell a person which row it is."""
        return ("file",)

    @property
    def column_names(self) -> tuple[str, ...]:
        """What an expectation of this view may name."""
        return ("file", "rows", "bytes", *(f"{name}_nulls" for name in self.nulls_of))


class RowTotals(_Frozen):
    """One row that compares an artifact with those it was made from, by the footers of all.

    `rows` in the files that match `files`, `dropped_rows` in `dropped`, their sum `all_rows`, and
    `upstream_rows` in the files of the artifacts `upstream` that match `upstream_files`. Not checked where one of
    these artifacts is not at hand.
    """

    kind: Literal["row_totals"] = "row_totals"
    name: str
    files: str
    dropped: str
    upstream: Annotated[tuple[str, ...], Field(min_length=1)]
    upstream_files: str
    expectations: tuple[Expectation, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that tell a person which row it is."""
        return ("upstream",)

    @property
    def column_names(self) -> tuple[str, ...]:
        """What an expectation of this view may name."""
        return ("upstream", "rows", "dropped_rows", "all_rows", "upstream_rows")


class ListSum(_Frozen):
    """A computed column: the sum of `field` over the objects in the record's `items`, a list or an object of them."""

    name: str
    items: str
    field: str


class JsonRecords(_Frozen):
    """Records inside a JSON file, one row each; column `document` holds the file's name.

    `records` is the way to them: a plain word enters that member of an object, `{name}` enters every member
    and puts its key into column `name`, `[]` enters every item of a list; empty is the document itself. A record that
    is no object has one column, `value`.
    """

    kind: Literal["json_records"] = "json_records"
    name: str
    file: str
    records: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    """A dot in a name enters an inner object: `held_out.bytes`."""
    sums: tuple[ListSum, ...] = ()
    sized: str | None = None
    """A column that names files beside this one; `file_bytes` is their size on disk, null where there is none."""
    key: tuple[str, ...] = ("document",)
    """Columns that tell a person which row it is."""
    optional: bool = False
    """Whether no file is as good as one that holds it."""
    expectations: tuple[Expectation, ...]

    @property
    def captured(self) -> tuple[str, ...]:
        """Columns that the way to the records fills."""
        return tuple(step[1:-1] for step in self.records if step.startswith("{"))

    @property
    def column_names(self) -> tuple[str, ...]:
        """What an expectation of this view may name."""
        declared = (column.name for column in self.columns)
        computed = (total.name for total in self.sums)
        return ("document", *self.captured, *declared, *computed, *(("file_bytes",) if self.sized else ()))


View = Annotated[ParquetRows | ParquetShards | RowTotals | JsonRecords, Field(discriminator="kind")]


class Contract(_Frozen):
    """What an artifact owes its readers."""

    artifact: str
    promise: str
    """The contract in one sentence."""
    views: Annotated[tuple[View, ...], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """sha256 of the contract as canonical JSON, in hex: two reports with equal digests asked the same."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        names = [view.name for view in self.views]
        if len(set(names)) != len(names):
            raise ValueError(f"two views of {self.artifact} share a name: {', '.join(names)}")
        for view in self.views:
            named = {*view.key, *(column for expected in view.expectations for column in expected.columns)}
            unknown = sorted(named - set(view.column_names))
            if unknown:
                raise ValueError(f"view {view.name} of {self.artifact} has no column {unknown[0]!r}")
            declares = isinstance(view, ParquetRows | JsonRecords)
            if declares != any(isinstance(expected, HasColumns) for expected in view.expectations):
                raise ValueError(f"view {view.name} of {self.artifact}: columns are declared if and only if expected")
        return self


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of an Arrow schema as a view declares them."""
    return tuple(Column(name=field.name, type=str(field.type)) for field in schema)
