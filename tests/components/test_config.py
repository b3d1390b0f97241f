from pathlib import Path

import pytest

from components.config import load_config
from components.errors import ParamsError

ROOT = Path(__file__).parents[2]


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  min_frequency: 2\n", "  min_frequency: 2\n  min_frequenzy: 2\n")
    with pytest.raises(ParamsError, match=r"train_tokenizer\.min_frequenzy: unknown key; remove it"):
        load_config(path)


def test_a_value_out_of_range_is_refused_with_the_range(tmp_path: Path) -> None:
    path = _edited(tmp_path, "jaccard_threshold: 0.7", "jaccard_threshold: 1.7")
    with pytest.raises(ParamsError, match=r"deduplicate\.jaccard_threshold: .*less than or equal to 1, not 1\.7"):
        load_config(path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  min_frequency: 2\n", "")
    with pytest.raises(ParamsError, match=r"train_tokenizer\.min_frequency: missing; add it"):
        load_config(path)


@pytest.mark.parametrize(
    ("blend", "said"),
    [
        ("{python: 0, c: 0}", "blend leaves every source out"),
        ("{python: -1}", r"pretrain\.blend\.python: .*greater than or equal to 0, not -1"),
        ("{C++: 1}", r"pretrain\.blend\.C\+\+"),
        ("{python: .inf}", r"pretrain\.blend\.python: .*finite"),
    ],
)
def test_a_blend_that_weighs_nothing_or_less_is_refused(tmp_path: Path, blend: str, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        load_config(_edited(tmp_path, "  blend: {} ", f"  blend: {blend} "))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = _edited(tmp_path, "  min_frequency: 2\n", "  min_frequency: 2\n  min_frequency: 3\n")
    with pytest.raises(ParamsError, match="not YAML"):
        load_config(path)


def test_sections_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = _edited(tmp_path, "hidden_size: 128", "hidden_size: 129")
    with pytest.raises(ParamsError, match="hidden_size 129 is not divisible by num_heads 2"):
        load_config(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="there is no parameter file"):
        load_config(tmp_path / "params.yaml")


def test_an_override_changes_one_parameter() -> None:
    config = load_config(ROOT / "params.yaml", ["pretrain.num_steps=77", "pretrain.fill_in_middle.rate=0.25"])
    assert config.pretrain.num_steps == 77
    assert config.pretrain.fill_in_middle.rate == 0.25


@pytest.mark.parametrize("override", ["pretrain.nun_steps=5", "nonsense.key=1", "pretrain", "num_steps=5"])
def test_an_override_that_names_no_parameter_is_refused(override: str) -> None:
    with pytest.raises(ParamsError, match="override"):
        load_config(ROOT / "params.yaml", [override])


def test_an_override_is_checked_as_the_file_is() -> None:
    with pytest.raises(ParamsError, match=r"pretrain\.num_steps: .*not 0"):
        load_config(ROOT / "params.yaml", ["pretrain.num_steps=0"])


def _laid_over(tmp_path: Path, **files: str) -> Path:
    """Files by stem; the first is the one to load."""
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text.replace("ROOT", str(ROOT)))
    return tmp_path / f"{next(iter(files))}.yaml"


def test_a_file_with_a_base_says_only_what_it_changes(tmp_path: Path) -> None:
    path = _laid_over(
        tmp_path,
        last="base: middle.yaml\npretrain: {num_steps: 70}\n",
        middle="base: ROOT/params.yaml\npretrain: {num_steps: 90, warmup_steps: 9}\nsplit_corpus: {seed: 4}\n",
    )
    expected = ["pretrain.num_steps=70", "pretrain.warmup_steps=9", "split_corpus.seed=4"]
    assert load_config(path) == load_config(ROOT / "params.yaml", expected)
    assert load_config(path, ["pretrain.num_steps=33"]).pretrain.num_steps == 33


def test_a_key_takes_the_place_of_the_bases_whole(tmp_path: Path) -> None:
    path = _laid_over(tmp_path, last="base: ROOT/params.yaml\npretrain: {fill_in_middle: {rate: 0.25}}\n")
    with pytest.raises(ParamsError, match=r"pretrain\.fill_in_middle\.spm_rate: missing; add it"):
        load_config(path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"last": "base: nowhere.yaml\n"}, r"there is no parameter file .*nowhere\.yaml"),
        ({"last": "base: 3\n"}, "base 3 is no path"),
        ({"last": "base: last.yaml\n"}, r"base last\.yaml leads back to a file that stands on it"),
        ({"last": "base: other.yaml\n", "other": "base: ./last.yaml\n"}, r"base \./last\.yaml leads back"),
        ({"last": "base: ROOT/params.yaml\npretrian: {num_steps: 3}\n"}, "pretrian cannot be laid over"),
        ({"last": "base: ROOT/params.yaml\npretrain: 3\n"}, "pretrain cannot be laid over"),
        ({"last": "base: other.yaml\npretrain: {a: 3}\n", "other": "[]\n"}, "pretrain cannot be laid over"),
        ({"last": "base: ROOT/params.yaml\npretrain: {nun_steps: 3}\n"}, r"pretrain\.nun_steps: unknown key"),
    ],
)
def test_a_base_that_cannot_be_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        load_config(_laid_over(tmp_path, **files))
