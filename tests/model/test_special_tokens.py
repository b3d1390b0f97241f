"""The ids that everything else builds on."""

from model import special_tokens
from model.special_tokens import SPECIAL_TOKENS


def test_every_named_id_points_at_its_token():
    spelled = {
        "END_OF_TEXT": "<|endoftext|>",
        **{token.strip("<>").upper(): token for token in SPECIAL_TOKENS[1:]},
    }
    assert len(spelled) == 19
    for name, token in spelled.items():
        assert SPECIAL_TOKENS[getattr(special_tokens, name)] == token


def test_no_token_is_an_ignored_target():
    assert special_tokens.IGNORED_TARGET < 0
