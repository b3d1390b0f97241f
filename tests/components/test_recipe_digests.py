"""What a step makes of a fixed table, pinned to its recipe number: other rows need another number. About 2 s.

The rows are hashed and not the files, so that a new release of Parquet's writer changes nothing here.
"""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.config import load_config
from components.corpus import decontaminate, deduplicate, filter_quality, split_corpus
from components.evaluation import collect_problems
from components.redaction import redact_secrets
from components.sources import ingest_sources
from components.sources.config import DirectorySource

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = [f"word{number}" for number in range(120)]
CONTENTS = [
    "# jane@acme.com\nHOST = '52.2.144.13'\npassword = 'Xk9mP2vL5nQ8rT3wY7zB'\n",
    " ".join(WORDS),
    " ".join([*WORDS[:60], "other", *WORDS[61:]]),
    " ".join(WORDS),
    "x = 1\n",
    "    longest = max(lengths)\n    hours, rest = divmod(longest, speed)\n    return hours + (1 if rest else 0)\n",
    "seconds_per_unit = {'d': 86400}\n    fives, rest = divmod(count, 5)\n    groups = ['||||/'] * fives\n",
    '    fives, rest = divmod(count, 5)\n    groups = ["||||/"] * fives\n    if rest:\n'
    '        groups.append("|" * rest)\n    return " ".join(groups)\n',
]

DIGESTS = {
    ("ingest_sources", 3): "7d6d3be935b554beba394b9f34ca7c89",
    ("filter_quality", 3): "899765dc43476043aa5648dc5fab8e05",
    ("split_corpus", 2): "cae447eef424b7ce5c883ffaaa280942",
    ("redact_secrets", 3): "4a52086115351a402898377ee554a5a1",
    ("deduplicate", 2): "f0b99c015c5ad77a35c67ce3a4c0cbc9",
    ("collect_problems", 2): "29d4357088c840542bd453e042b42171",
    ("decontaminate", 2): "e404051b66065940d579d5889e8d4dc3",
}


def _digest(artifact):
    rows = {path.name: pq.read_table(path).to_pylist() for path in sorted(artifact.glob("*.parquet"))}
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]


@pytest.fixture
def outputs(tmp_path, table_of):
    """The artifact that each step makes of the fixed table with the parameters of params.yaml."""
    config = load_config(REPOSITORY / "params.yaml")
    table = table_of([{"content": content} for content in CONTENTS])
    places = {name: tmp_path / name for name, _ in DIGESTS}
    for place in places.values():
        place.mkdir()
    source = DirectorySource(
        name="made-up", kind="directory", path="sources", repository="owner/project", license="MIT", exclude=()
    )
    (tmp_path / "sources").mkdir()
    for number, content in enumerate([*CONTENTS, "", "x" * 2000, "nul \0"]):
        (tmp_path / "sources" / f"file_{number}.py").write_text(content)
    ingest = config.ingest_sources.model_copy(update={"sources": (source,)})
    (tmp_path / "opt_outs.json").write_text('{"repositories": [], "users": []}')
    ingest_sources.run(ingest, opt_outs=tmp_path, workspace=tmp_path, out=places["ingest_sources"])
    works = {name: tmp_path / f"{name} work" for name in places}
    filter_quality.run(
        config.filter_quality,
        raw_files=places["ingest_sources"],
        workspace=tmp_path,
        out=places["filter_quality"],
        work_dir=works["filter_quality"],
    )
    split_corpus.run(config.split_corpus, clean_files=table, out=places["split_corpus"], work_dir=works["split_corpus"])
    (tmp_path / "tagger.json").write_text('{"enabled": false, "encoder": null, "overlap_tokens": 0}')
    redact_secrets.run(
        config.redact_secrets,
        permitted_files=table,
        pii_tagger=tmp_path,
        out=places["redact_secrets"],
        work_dir=works["redact_secrets"],
    )
    deduplicate.run(config.deduplicate, redacted_files=table, out=places["deduplicate"], work_dir=works["deduplicate"])
    collect_problems.run(config.collect_problems, workspace=tmp_path, out=places["collect_problems"])
    decontaminate.run(
        config.decontaminate,
        unique_files=table,
        eval_problems=places["collect_problems"],
        out=places["decontaminate"],
        work_dir=works["decontaminate"],
    )
    return {(name, getattr(config, name).recipe): _digest(place) for name, place in places.items()}


def test_the_rows_of_a_step_change_only_with_its_recipe_number(outputs):
    """If this fails on purpose, raise the step's `recipe` in every parameter file and write its new digest here."""
    assert outputs == DIGESTS
