"""Opt-outs: what the lists say, in one artifact; a list that cannot be read stops the build."""

import pytest

from components.errors import CorruptArtifactError, SourceError
from components.sources.collect_opt_outs import resolve_sources, run
from components.sources.config import CollectOptOutsConfig
from components.sources.opt_outs import read_opt_outs


def config(*files):
    return CollectOptOutsConfig(recipe=1, opt_out_files=files)


def collected(tmp_path, **lists):
    (tmp_path / "out").mkdir()
    for name, text in lists.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    summary = run(config(*(f"{name}.yaml" for name in lists)), workspace=tmp_path, out=tmp_path / "out")
    return summary, read_opt_outs(tmp_path / "out")


def test_lists_are_joined_and_asked_without_regard_to_case(tmp_path):
    summary, opt_outs = collected(
        tmp_path, first="repositories: [Ada/Engine]\n", second="users: [Grace]\nrepositories: [ada/engine]\n"
    )
    assert (summary.repositories, summary.users) == (1, 1)
    assert opt_outs.repository("ADA/engine")
    assert not opt_outs.repository("ada/engine-2")
    assert opt_outs.repository("grace/anything")
    assert opt_outs.user("GRACE")
    assert not opt_outs.user("ada")


def test_without_lists_nobody_is_left_out(tmp_path):
    _, opt_outs = collected(tmp_path)
    assert not opt_outs.repository("ada/engine")


def test_an_empty_list_is_a_list(tmp_path):
    assert collected(tmp_path, first="# nobody yet\n")[0].users == 0


def test_a_name_more_is_another_source(tmp_path):
    (tmp_path / "a.yaml").write_text("users: [ada]\n")
    before = resolve_sources(config("a.yaml"), tmp_path)
    (tmp_path / "a.yaml").write_text("users: [ada, grace]\n")
    assert resolve_sources(config("a.yaml"), tmp_path) != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("repositories: [engine]\n", "repositories.0 is 'engine'; write `repositories` as owner/name"),
        ("users: [ada/engine]\n", "users.0 is 'ada/engine'"),
        ("people: [ada]\n", "people is"),
        ("users: [ada\n", "is not YAML"),
        ("just words\n", "cannot be used"),
    ],
)
def test_a_list_that_cannot_be_used_is_told(tmp_path, text, told):
    with pytest.raises(SourceError, match=told):
        collected(tmp_path, first=text)


def test_a_list_that_is_not_there_stops_the_build(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.yaml cannot be read .* restore it"):
        resolve_sources(config("gone.yaml"), tmp_path)


def test_a_damaged_artifact_is_told(tmp_path):
    (tmp_path / "opt_outs.json").write_text('{"users": 3}')
    with pytest.raises(CorruptArtifactError, match="no list of opt-outs"):
        read_opt_outs(tmp_path)
