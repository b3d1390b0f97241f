"""What tests of the inspection share: rules with StarCoder's numbers, hostile files, and a page made of a table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from components.corpus.filter_quality import rules_of
from components.corpus.inspection_table import Inspection
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_presets import PRESETS
from components.inspection.highlight_code import Highlighter
from components.inspection.inspection_page import PageFacts, write_page
from components.inspection.sample_files import Sample, sample_files

WHO: dict[str, Any] = {
    "recipe": 1,
    "languages": {"select": "list", "names": ["python", "html", "javascript", "json", "markdown"]},
    "max_bytes_by_language": {},
    "keep_fraction_by_language": {},
    "seed": 0,
    "content_model": "none",
    "hidden_characters": "keep",
    "inspection_file": "inspection.csv",
}


ConfigOf = Callable[..., FilterQualityConfig]
SampleOf = Callable[..., Sample]
PageOf = Callable[..., Path]


@pytest.fixture(scope="session")
def config_of() -> ConfigOf:
    """Call it with changes of single numbers: filter_quality's section with those of StarCoder."""
    return _config


def _config(**changes: Any) -> FilterQualityConfig:
    return FilterQualityConfig.model_validate(WHO | PRESETS["starcoder"] | changes)


@pytest.fixture(scope="session")
def sample_of() -> SampleOf:
    """Call it with a table and changes of the parameters: what is drawn of it."""
    return _sample


def _sample(table: Path, files: int = 50, seed: int = 7, languages: Sequence[str] = (), **changes: Any) -> Sample:
    rules = rules_of(_config(**changes), table, table.parent)
    wanted = frozenset(languages) if languages else None
    return sample_files(table, rules, files_per_extension=files, seed=seed, languages=wanted)


@pytest.fixture(scope="session")
def highlighter() -> Any:
    """One that lives as long as the session: its processes take a second to start."""
    with Highlighter(1) as one:
        yield one


@pytest.fixture
def page_of(tmp_path: Path, highlighter: Highlighter) -> PageOf:
    """Call it with a table: it writes the page and returns where."""

    def write(
        table: Path, standing: Sequence[Inspection] = (), reviewer: str = "Ada", name: str = "index.html", **asked: Any
    ) -> Path:
        page = tmp_path / "pages" / name
        facts = PageFacts(asked.get("seed", 7), "inspection.csv", reviewer, standing, _config())
        write_page(page, _sample(table, **asked), facts, highlighter)
        return page

    return write


@pytest.fixture(scope="session")
def hostile_files() -> list[dict[str, Any]]:
    """Files that would act if they were more than text: then `window.ran` would say which."""
    return _HOSTILE


_RAN = "window.ran = (window.ran || []).concat"
_HOSTILE: list[dict[str, Any]] = [
    {"path": "script.html", "language": "html", "extension": ".html", "content": f"<script>{_RAN}(1)</script>\n" * 9},
    {
        "path": "breaks-out.html",
        "language": "html",
        "extension": ".html",
        "content": f"</script></pre><img src=x onerror='{_RAN}(2)'><!-- <script> ]]> \n",
    },
    {
        "path": f"<img src=x onerror={_RAN}(3)>/\u202egnp.html",
        "language": "html",
        "extension": ".html",
        "repository": f"<b onmouseover={_RAN}(4)>o</b>/p",
        "license": f"<svg onload={_RAN}(5)>",
        "content": "<p>fine</p>\n",
    },
    {
        "path": "frames.html",
        "language": "html",
        "extension": ".html",
        "content": "<iframe src='https://example.org'></iframe><link rel=stylesheet href='//example.org/a.css'>"
        "<meta http-equiv=refresh content='0;url=https://example.org'><img src='https://example.org/a.png'>\n",
    },
    {"path": "bidi.py", "content": "access = 'user\u202e \u2066# admin\u2069 \u2066'\n\x00\x1b[2J\x07 = 1\n"},
    {"path": "line.py", "content": "x = '" + "\U0001f40d" * 30_000 + "'\n"},
    {"path": "many.py", "content": "y = 1\n" * 3_000},
    {"path": "no-end.py", "content": "z = 1"},
]
