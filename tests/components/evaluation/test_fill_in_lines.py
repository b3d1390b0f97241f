from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from components.evaluation.fill_in_lines import choose_lines, exact_match_fraction, prompt_ids
from components.tokens.tokenizer_files import encode_text
from model.special_tokens import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX
from model.transformer import CodeModel

FILES = [("a", "import os\n\n\ndef f():\n    return 1\n"), ("b", "x = 1\r\n---\n\u00e9 = 2"), ("c", "")]


def test_all_lines_with_a_letter_or_digit_can_be_chosen_and_fit_their_file() -> None:
    cases = choose_lines(FILES, 100, seed=1)
    assert {case.line for case in cases} == {"import os", "def f():", "    return 1", "x = 1\r", "\u00e9 = 2"}
    assert {case.prefix + case.line + case.suffix for case in cases} <= {text for _, text in FILES}


def test_the_choice_depends_on_the_seed_and_not_on_the_order_of_files() -> None:
    texts = [(f"file-{number}", f"value_{number} = {number}\n" * 3) for number in range(30)]
    chosen = choose_lines(texts, 10, seed=1)
    assert len(chosen) == 10
    assert chosen == choose_lines(texts[::-1], 10, seed=1)
    assert chosen != choose_lines(texts, 10, seed=2)
    assert choose_lines(texts, 0, seed=1) == []


ids = st.lists(st.integers(19, 1000), max_size=60)


@given(ids, ids, st.integers(2, 50))
def test_a_prompt_keeps_what_is_nearest_to_the_gap_and_wastes_no_room(
    prefix: list[int], suffix: list[int], room: int
) -> None:
    prompt = prompt_ids(prefix, suffix, room)
    assert (prompt[0], prompt[-1]) == (FIM_PREFIX, FIM_MIDDLE)
    gap = prompt.index(FIM_SUFFIX)
    before, after = prompt[1:gap], prompt[gap + 1 : -1]
    assert before == prefix[len(prefix) - len(before) :]
    assert after == suffix[: len(after)]
    assert len(before) + len(after) == min(room, len(prefix) + len(suffix))
    assert len(after) <= room // 2 or len(before) == len(prefix)
    assert len(before) <= room - room // 2 or len(after) == len(suffix)


def test_lines_that_the_model_knows_are_filled_in_and_others_are_not(
    tokenizer: Tokenizer, model_that_learned: Callable[[Sequence[Sequence[int]]], CodeModel]
) -> None:
    texts = [("a", "import math\narea = 3\nend\n"), ("b", "class A:\n    name = self\n    x = 1\n")]
    cases = choose_lines(texts, 6, seed=1)
    learned = [
        prompt_ids(encode_text(tokenizer, case.prefix), encode_text(tokenizer, case.suffix), room=40)
        + encode_text(tokenizer, case.line)
        + ([0] if number % 2 else encode_text(tokenizer, "\n\n"))
        for number, case in enumerate(cases)
    ]
    model = model_that_learned(learned[:4])
    assert exact_match_fraction(model, tokenizer, cases[:4], max_new_tokens=20) == 1.0
    assert exact_match_fraction(model, tokenizer, cases, max_new_tokens=20) < 1.0
    assert exact_match_fraction(model, tokenizer, [], max_new_tokens=20) == 0.0
