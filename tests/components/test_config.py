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
