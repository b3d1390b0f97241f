"""The split: decided by the name alone, in the shares that were asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.config import SplitCorpusConfig
from components.corpus.split_corpus import run, split_of
from components.errors import EmptyArtifactError
from components.tables import read_dropped, read_files


def config(**changes):
    return SplitCorpusConfig.model_validate(
        {"recipe": 1, "unit": "path", "validation_fraction": 0.2, "test_fraction": 0.1, "seed": 7} | changes
    )


@pytest.fixture
def split(table_of, tmp_path):
    """Call it with rows and config: the summary and the rows that came out."""

    def call(rows, parameters):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        summary = run(parameters, clean_files=table_of(rows), out=out, work_dir=out.with_name(f"{out.name} work"))
        assert list(read_dropped(out)) == []
        return summary, [row for batch in read_files(out) for row in batch.to_pylist()]

    return call


def files(count):
    return [
        {"content": f"x = {number}\n", "path": f"{number}.py", "repository": f"owner/{number % 97}"}
        for number in range(count)
    ]


@pytest.mark.parametrize("unit", ["path", "repository"])
def test_all_rows_are_kept_in_order_and_shares_are_near_what_was_asked(split, unit):
    rows = files(3000)
    summary, told = split(rows, config(unit=unit))

    assert [row["content"] for row in told] == [row["content"] for row in rows]
    assert summary.files.kept_files == sum(summary.split_files.values()) == 3000
    assert sum(summary.split_bytes.values()) == sum(len(row["content"]) for row in rows)
    spread = 0.03 if unit == "path" else 0.12
    assert summary.split_files["validation"] / 3000 == pytest.approx(0.2, abs=spread)
    assert summary.split_files["test"] / 3000 == pytest.approx(0.1, abs=spread)


@pytest.mark.parametrize(("unit", "key"), [("path", ("repository", "path")), ("repository", ("repository",))])
def test_what_shares_the_unit_shares_the_split(split, unit, key):
    rows = [row | {"commit": commit, "content": commit} for commit in ("a", "b", "c") for row in files(200)]
    _, told = split(rows, config(unit=unit))

    splits = {}
    for row in told:
        splits.setdefault(tuple(row[name] for name in key), set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "validation", "test"}


def test_a_file_keeps_its_split_when_the_corpus_grows(split):
    _, few = split(files(100), config())
    _, many = split(list(reversed(files(400))), config())

    later = {row["path"]: row["split"] for row in many}
    assert {row["path"]: row["split"] for row in few} == {path: later[path] for path in (r["path"] for r in few)}


def test_the_same_path_in_two_repositories_is_two_units(split):
    rows = [{"content": f"{number}", "path": "setup.py", "repository": f"owner/{number}"} for number in range(200)]
    _, told = split(rows, config())

    assert len({row["split"] for row in told}) == 3


@given(st.text(max_size=30), st.integers(0, 2**62))
def test_raising_the_share_of_validation_takes_from_train_only(unit, seed):
    before = split_of(unit, config(seed=seed))
    after = split_of(unit, config(seed=seed, validation_fraction=0.5))

    assert after == before or (before, after) == ("train", "validation")


def test_the_seed_deals_anew():
    units = [f"owner/{number}" for number in range(300)]
    assert [split_of(unit, config(seed=1)) for unit in units] != [split_of(unit, config(seed=2)) for unit in units]


def test_a_known_name_has_its_known_split():
    """The rule is part of the format: changing it moves files from training to evaluation."""
    told = [split_of(f"owner/{number}", config())[:2] for number in range(24)]
    assert " ".join(told) == "tr tr tr tr te tr tr tr te tr tr tr te tr te va tr tr tr tr va tr tr tr"


def test_twice_gives_the_same_bytes(table_of, tmp_path):
    table = table_of(files(500))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run(config(), clean_files=table, out=tmp_path / name, work_dir=tmp_path / f"{name} work")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )

    assert first == second


def test_nothing_to_train_on_is_told(table_of, tmp_path):
    parameters = config(unit="repository", validation_fraction=0.99, test_fraction=0.0)
    with pytest.raises(EmptyArtifactError, match=r"none of the 1 files into train .*unit repository.*split by path"):
        run(parameters, clean_files=table_of([{"content": "x"}]), out=tmp_path, work_dir=tmp_path / "work")
