"""Which tests hold us to the rows of StarCoder's data slides and to the known defects of its code: they are there."""

import ast
from functools import cache
from pathlib import Path

import pytest

COMPONENTS = Path(__file__).parents[1] / "components"

SLIDES: dict[str, tuple[str, ...]] = {
    "80+ programming languages": (
        "corpus/test_language_selection.py::test_the_rule_on_the_stack_gives_the_88_languages_of_the_mix",
    ),
    "languages over 500 MB, in the top 50 of GitHut or TIOBE, dialects": (
        "corpus/test_language_selection.py::test_each_clause_of_the_rule",
    ),
    "no configuration, no unsupported languages, data formats in limited volume": (
        "corpus/test_language_selection.py::test_each_clause_of_the_rule",
        "corpus/test_language_caps.py::test_the_draw_fills_the_cap_and_knows_neither_order_nor_batches",
    ),
    "visual inspection of randomly selected files, filters by extension": (
        "inspection/test_inspect_files.py::test_equal_requests_give_equal_pages_and_a_seed_its_own",
        "inspection/test_inspect_files.py::test_a_verdict_changes_the_fingerprint_of_filter_quality",
        "corpus/test_quality_limits.py::test_the_limits_of_every_ending_are_those_of_the_reference",
    ),
    "XML, alpha, HTML, JSON and YAML filters": (
        "corpus/test_filter_quality.py::test_each_basic_rule_drops_with_what_it_saw_and_what_it_allows",
        "corpus/test_filter_quality.py::test_html_needs_visible_text",
        "corpus/test_filter_quality.py::test_json_is_kept_from_50_characters_on",
    ),
    "XML in the first 100 characters, especially .sld; a low share of letters, especially MATLAB": (
        "corpus/test_filter_quality.py::test_an_ending_has_the_limits_that_starcoders_reviewers_gave_it",
    ),
    "notebooks to scripts with Jupytext, language from metadata, else guessed": (
        "notebooks/test_scripts.py::test_jupytext_reads_the_same_code_back",
        "notebooks/test_notebook_language.py::test_the_language_is_what_the_metadata_names",
        "notebooks/test_notebook_language.py::test_the_guess_is_right_on_the_shipped_notebooks",
    ),
    "Markdown and code blocks filtered and merged to consecutive pairs": (
        "notebooks/test_triplets.py::test_cells_of_one_kind_are_one_and_the_edges_without_a_partner_go",
        "notebooks/test_triplets.py::test_the_pieces_of_a_document_are_the_triplets",
    ),
    "structured notebooks, and conversations of issues and pull requests": (
        "notebooks/test_convert_notebooks.py::test_the_shipped_notebooks_give_scripts_and_documents",
        "issues/test_render_issues.py::test_a_conversation_in_the_layout_of_starcoder",
    ),
    "auto-generated text, short messages, long comments and bots removed": (
        "issues/test_message_rules.py::test_what_a_mail_program_adds_goes",
        "issues/test_message_rules.py::test_size_and_users",
        "issues/test_message_rules.py::test_a_long_message_keeps_its_beginning_and_its_last_lines",
        "issues/test_message_rules.py::test_no_bot_is_left_and_what_is_left_keeps_its_order",
    ),
    "two or more users, or one with less than 7,000 characters": ("issues/test_message_rules.py::test_size_and_users",),
    "The Stack, Git commits and issues": (
        "sources/test_read_parquet.py::test_a_row_of_the_stack_brings_its_own_origin",
        "commits/test_render_commits.py::test_a_commit_becomes_before_message_after",
        "issues/test_ingest_issues.py::test_a_thread_is_put_together_from_several_files",
    ),
    "no issues in other languages than English": (
        "issues/test_english.py::test_a_language_is_told_from_two_sentences",
        "issues/test_render_issues.py::test_each_drop_says_rule_value_and_threshold",
    ),
    "no repositories of users who opted out": (
        "sources/test_ingest_sources.py::test_a_source_of_an_opted_out_owner_gives_nothing_and_says_why",
        "issues/test_ingest_issues.py::test_who_asked_to_be_left_out_is",
        "commits/test_ingest_commits.py::test_what_an_opted_out_author_wrote_is_left_out",
        "corpus/test_permit_files.py::test_all_kinds_go_on_as_one_table_and_each_drop_says_why",
    ),
    "source files deduplicated": (
        "corpus/test_deduplicate.py::test_every_drop_of_a_real_file_is_justified_and_no_close_pair_is_left",
    ),
    "usernames replaced by participant counters": (
        "issues/test_participants.py::test_a_login_is_replaced_where_it_is_a_word",
    ),
    "IP address, password, keys, id, e-mail, user name": (
        "redaction/test_secret_rules.py::test_public_addresses_are_replaced_by_private_ones_of_their_family",
        "redaction/test_secret_rules.py::test_issued_keys_are_redacted_wherever_they_stand",
        "redaction/test_secret_rules.py::test_mail_addresses_are_redacted",
        "redaction/test_personal_rules.py::test_what_is_announced_is_found_to_the_byte",
    ),
}
"""Row of the slides "Training data" and "Data selection", shortened, to tests under tests/components."""

DEFECTS: dict[str, tuple[str, ...]] = {
    "the range of a change always begins at 0": (
        "commits/test_change_window.py::test_the_range_of_a_change_at_line_250_is_250_to_251_and_not_0_to_251",
    ),
    "a trivial solution is exempt under a misspelt text": (
        "corpus/test_benchmark_search.py::test_the_reference_defect_a_trivial_solution_is_exempt_whatever_its_quotes",
    ),
    "'py' in the metadata makes any notebook Python; only the first output is kept": (
        "notebooks/test_notebook_language.py::test_py_in_json_dumps_metadata_does_not_make_a_notebook_python",
        "notebooks/test_triplets.py::test_only_the_text_of_the_first_output_is_not_enough",
    ),
    "usernames are replaced within words": (
        "issues/test_participants.py::test_usernames_are_not_replaced_by_bare_string_replacement",
        "issues/test_participants.py::test_logins_of_one_or_two_letters_do_not_shred_the_text",
    ),
    "the context of an address is lost near the head of a file": (
        "redaction/test_secret_rules.py::test_context_is_read_at_the_head_of_a_file_too",
    ),
    "a model is loaded for each match, a file written for each document": (
        "redaction/test_redact_secrets.py::"
        "test_no_model_is_loaded_for_a_match_and_no_document_is_written_to_a_temporary_file",
    ),
    "products of 32 bits overflow": (
        "corpus/test_minhash.py::test_products_of_32_bits_do_not_overflow_unseen_but_are_meant_modulo_two_to_the_32",
    ),
    "components of unverified pairs are dropped": (
        "corpus/test_deduplicate.py::test_raw_lsh_and_connected_components_without_verification_is_not_what_is_done",
    ),
    "short documents collapse into one": ("corpus/test_deduplicate.py::test_short_files_do_not_collapse_into_one",),
    "the call of the first bot stays; a suffix of bots never matches": (
        "issues/test_message_rules.py::test_the_call_of_the_first_bot_is_removed_too",
        "issues/test_message_rules.py::test_the_service_account_suffix_matches_though_the_login_is_lower_cased",
    ),
    "files named Dockerfile are lost": ("sources/test_languages.py::test_extension_less_dockerfiles_are_not_lost",),
    "an empty cell of the inspection excludes Racket": (
        "corpus/test_quality_limits.py::test_racket_is_not_lost_for_an_empty_cell",
    ),
}
"""What bigcode-dataset does otherwise than the paper means, to the tests that it is not done here."""


@cache
def _tests_of(file: str) -> frozenset[str]:
    tree = ast.parse((COMPONENTS / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", [*SLIDES, *DEFECTS])
def test_what_the_reference_says_is_held_by_tests_that_are_there(row: str) -> None:
    for test in (SLIDES | DEFECTS)[row]:
        file, _, name = test.partition("::")
        assert name in _tests_of(file)
