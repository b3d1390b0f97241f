"""Notebooks of every format, as bytes, and the ones that the project ships."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.notebooks.config import ConvertNotebooksConfig
from components.notebooks.guarded_json import JsonLimits

SAMPLES = Path(__file__).parents[3] / "samples" / "notebooks"
LIMITS = JsonLimits(depth=100, values=1_000_000)


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """The shipped notebooks by name."""
    return {path.name: path.read_bytes() for path in sorted(SAMPLES.glob("*.ipynb"))}


@pytest.fixture(scope="session")
def limits() -> JsonLimits:
    return LIMITS


@pytest.fixture(scope="session")
def written() -> Callable[..., bytes]:
    """Call it with cells as (kind, source) or whole dicts: a notebook of nbformat 4.5 as bytes."""

    def write(*cells: Any, **root: Any) -> bytes:
        made = [cell if isinstance(cell, dict) else {"cell_type": cell[0], "source": cell[1]} for cell in cells]
        metadata = {"kernelspec": {"language": "python", "name": "python3"}}
        return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made} | root).encode()

    return write


@pytest.fixture(scope="session")
def config() -> Callable[..., ConvertNotebooksConfig]:
    """Call it with what differs from the small run's parameters."""

    def make(**changes: Any) -> ConvertNotebooksConfig:
        return ConvertNotebooksConfig.model_validate(
            {
                "recipe": 1,
                "kinds": ["notebook_script", "notebook"],
                "max_json_depth": 100,
                "max_json_values": 1_000_000,
                "min_code_chars": 20,
                "min_guess_probability": 0.5,
                "max_line_length_chars": 1000,
                "max_mean_line_length_chars": 100,
                "min_alphanumeric_fraction": 0.25,
                "document_languages": ["python"],
                "markdown": "kept",
                "output_kinds": ["stdout", "stderr", "result", "error"],
                "max_output_chars": 1000,
            }
            | changes
        )

    return make
