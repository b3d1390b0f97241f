"""The ids that everything else builds on."""

import pytest

from model import special_tokens
from model.special_tokens import FAMILIES, STARCODER, STARCODER2, names_of

SHARED = {
    "END_OF_TEXT": "<|endoftext|>",
    "FIM_PREFIX": "<fim_prefix>",
    "FIM_MIDDLE": "<fim_middle>",
    "FIM_SUFFIX": "<fim_suffix>",
    "FIM_PAD": "<fim_pad>",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_five_ids_are_the_same_in_every_family(family):
    for name, token in SHARED.items():
        assert FAMILIES[family][getattr(special_tokens, name)] == token


def test_starcoder_has_19_and_starcoder2_the_34_of_the_paper_and_four_of_redaction():
    assert len(set(STARCODER)) == len(STARCODER) == 19
    assert len(set(STARCODER2)) == len(STARCODER2) == 38
    assert (STARCODER[5], STARCODER[18]) == ("<filename>", "<reponame>")
    assert STARCODER2[5:7] == ("<repo_name>", "<file_sep>")
    assert STARCODER2[33] == "<pr_diff_hunk_comment_line>"
    assert STARCODER2[34:] == ("<NAME>", "<EMAIL>", "<KEY>", "<PASSWORD>")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bare_name_leads_to_its_id(family):
    ids = names_of(FAMILIES[family])
    assert list(ids.values()) == list(range(len(FAMILIES[family])))
    assert ids["endoftext"] == 0
    for name, number in list(ids.items())[1:]:
        assert FAMILIES[family][number] == f"<{name}>"


def test_no_token_is_an_ignored_target():
    assert special_tokens.IGNORED_TARGET < 0
