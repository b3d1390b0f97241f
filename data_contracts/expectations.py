"""The vocabulary of contracts: ten things that a view's rows can be held to, each with a severity and a reason.

It is our own, not Great Expectations': `engine.py` translates it, so contracts are written, read and hashed
without that library, and a change of its interface touches one file. Each expectation says itself in words.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Severity(StrEnum):
    """What a broken expectation means."""

    BLOCK = "block"
    """The artifact is not published."""
    WARN = "warn"
    """The artifact is published, and the report says what is odd."""


Fraction = Annotated[float, Field(gt=0.0, le=1.0)]


class _Expectation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    severity: Severity
    why: str
    """What goes wrong downstream when it is broken."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return ()


class HasColumns(_Expectation):
    """Each column that the view declares is in every file with its declared type, and every file can be read."""

    kind: Literal["has_columns"] = "has_columns"

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return "every file must have the declared columns with their types"


class NotNull(_Expectation):
    """At least `at_least_fraction` of the rows have a value."""

    kind: Literal["not_null"] = "not_null"
    column: str
    at_least_fraction: Fraction = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column,)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{self.column} must not be null{_share(self.at_least_fraction)}"


class UniqueKey(_Expectation):
    """No two rows agree in all of these columns (of a sampled view: no two rows of the sample)."""

    kind: Literal["unique_key"] = "unique_key"
    key: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return self.key

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{' with '.join(self.key)} must be unique"


class Between(_Expectation):
    """At least `at_least_fraction` of the values that are not null lie in the closed range."""

    kind: Literal["between"] = "between"
    column: str
    minimum: float | None = None
    maximum: float | None = None
    at_least_fraction: Fraction = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column,)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{self.column} must be {_range(self.minimum, self.maximum)}{_share(self.at_least_fraction)}"

    @model_validator(mode="after")
    def _range_holds_something(self) -> Self:
        _require_range(self.minimum, self.maximum)
        return self


class InSet(_Expectation):
    """At least `at_least_fraction` of the values that are not null are among `allowed`."""

    kind: Literal["in_set"] = "in_set"
    column: str
    allowed: Annotated[tuple[str | bool | int, ...], Field(min_length=1)]
    at_least_fraction: Fraction = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column,)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        allowed = " or ".join(str(value) for value in self.allowed)
        return f"{self.column} must be {allowed}{_share(self.at_least_fraction)}"


class MatchesPattern(_Expectation):
    """At least `at_least_fraction` of the values that are not null match the regular expression as a whole."""

    kind: Literal["matches_pattern"] = "matches_pattern"
    column: str
    pattern: str
    """No look-around and no back-reference, so that it runs in linear time; `.` matches a newline too."""
    form: str
    """The pattern in words, for example "64 lower-case hex digits"."""
    at_least_fraction: Fraction = 1.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column,)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{self.column} must be {self.form}{_share(self.at_least_fraction)}"

    @model_validator(mode="after")
    def _pattern_compiles(self) -> Self:
        re.compile(self.pattern)
        return self


class NeverAbove(_Expectation):
    """In each row where both have a value, `column` is at most `ceiling`."""

    kind: Literal["never_above"] = "never_above"
    column: str
    ceiling: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column, self.ceiling)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{self.column} must not exceed {self.ceiling}"


class Equal(_Expectation):
    """In each row where both have a value, `column` is `times` x `other`."""

    kind: Literal["equal"] = "equal"
    column: str
    other: str
    times: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column, self.other)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"{self.column} must equal {'' if self.times == 1 else f'{self.times} x '}{self.other}"


class RowCountBetween(_Expectation):
    """The view has so many rows."""

    kind: Literal["row_count_between"] = "row_count_between"
    minimum: int | None = None
    maximum: int | None = None

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"the number of rows must be {_range(self.minimum, self.maximum)}"

    @model_validator(mode="after")
    def _range_holds_something(self) -> Self:
        _require_range(self.minimum, self.maximum)
        return self


class SumBetween(_Expectation):
    """The column's values that are not null add up to a number in the closed range."""

    kind: Literal["sum_between"] = "sum_between"
    column: str
    minimum: float | None = None
    maximum: float | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view that it speaks of."""
        return (self.column,)

    @property
    def text(self) -> str:
        """What is expected, for a person."""
        return f"the sum of {self.column} must be {_range(self.minimum, self.maximum)}"

    @model_validator(mode="after")
    def _range_holds_something(self) -> Self:
        _require_range(self.minimum, self.maximum)
        return self


Expectation = Annotated[
    HasColumns
    | NotNull
    | UniqueKey
    | Between
    | InSet
    | MatchesPattern
    | NeverAbove
    | Equal
    | RowCountBetween
    | SumBetween,
    Field(discriminator="kind"),
]


def _require_range(minimum: float | None, maximum: float | None) -> None:
    if minimum is None and maximum is None:
        raise ValueError("a range without minimum and maximum expects nothing; give one")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValueError(f"no value is between {minimum} and {maximum}; swap them")


def _range(minimum: float | None, maximum: float | None) -> str:
    if maximum is None:
        return f"at least {_number(minimum)}"
    if minimum is None:
        return f"at most {_number(maximum)}"
    if minimum == maximum:
        return _number(minimum)
    return f"between {_number(minimum)} and {_number(maximum)}"


def _number(value: float | None) -> str:
    return f"{int(value):,}" if value is not None and value == int(value) else str(value)


def _share(fraction: float) -> str:
    return "" if fraction == 1.0 else f" in at least {fraction:.0%} of the rows"
