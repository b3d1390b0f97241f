"""The rules over commits: what each one sees, which one decides, and that what they spare depends on nothing else."""

import pytest
from pydantic import ValidationError

from components.commits.message_rules import CommitFacts, Drop, first_drop, rules_of

LINES = [f"line {number}\n" for number in range(400)]
FILE_IDS = [f"{number:032x}" for number in range(4000)]


def facts(**changes):
    subject = {"subject": "Say what the change is about", "before": "a\nb\nc\n", "after": "d\ne\nf\n"}
    return CommitFacts(**(subject | {"language": "python", "extension": ".py"} | changes))


def edited(first, last):
    """Facts of a commit that changes the lines from `first` up to `last`."""
    return {"before": "".join(LINES), "after": "".join([*LINES[:first], *(["new\n"] * (last - first)), *LINES[last:]])}


def dropped(config, commit, file_id=FILE_IDS[0]):
    return first_drop(rules_of(config), commit, config.seed, file_id)


@pytest.mark.parametrize(
    ("commit", "reason"),
    [
        ({"before": "x" * 100_000}, ("max_file_chars", "100000", "less than 100000")),
        ({"after": "\U0001f600" * 100_000}, ("max_file_chars", "100000", "less than 100000")),
        ({"after": ""}, ("empty_after", "0", "1")),
        (edited(250, 252), ("small_change", "2", "more than 2 lines")),
        (edited(100, 300), ("large_change", "200", "less than 200 lines")),
        ({"subject": ""}, ("empty_subject", "0 words", "1 word")),
        ({"subject": " \t"}, ("empty_subject", "0 words", "1 word")),
        ({"subject": "This is an Auto Commit of all"}, ("subject_phrase", "auto commit", None)),
        ({"subject": 'Add <?xml version="1.0"?> to it'}, ("subject_phrase", "<?xml", None)),
        ({"subject": " Update README.md "}, ("whole_subject", "update readme.md", None)),
        ({"subject": "Mend the broken build"}, ("short_subject", "4", "5 words")),
        ({"subject": "v1.12.0-rc.1"}, ("version_number", "a version", "more than a version number")),
        ({"subject": "d41d8cd98f00b204e9800998ecf8427e"}, ("chars_per_word", "32.0", "20")),
        ({"subject": " word"}, ("indented_word", "1 word", "no space before a single word")),
        ({"language": None}, ("language", "unknown", "one of render_commits.languages")),
        ({"language": "cobol"}, ("language", "cobol", "one of render_commits.languages")),
        ({"language": "java"}, ("language_share", "java", "fewer commits")),
        ({"language": "json", "extension": ".json"}, ("extension_share", ".json", "fewer commits")),
    ],
)
def test_each_rule_drops_with_what_it_saw_and_what_it_allows(render_config, commit, reason):
    rule, value, threshold = reason
    spared = {"version_number", "chars_per_word", "indented_word"}
    config = render_config(
        small_change_keep=0.0,
        short_subject_keep=1.0 if rule in spared else 0.0,
        language_keep={"java": 0.0},
        extension_keep={".json": 0.0},
    )

    found = dropped(config, facts(**commit))
    assert found is not None
    assert (found.rule, found.value) == (rule, value)
    assert threshold in (None, found.threshold)


@pytest.mark.parametrize(
    "commit",
    [
        {"before": "x" * 99_999, "after": "y\nz\na\n"},
        edited(250, 253),
        edited(100, 299),
        {"before": ""},
        {"subject": "Auto-commit nothing but a word"},
        {"subject": "Update readme.md, license and notes"},
        {"subject": "Write five words at least"},
        {"subject": f"{'x' * 83} a b c {'y' * 10}"},
        {"subject": " with a space before it all"},
        {"language": "java"},
    ],
)
def test_at_its_limit_a_commit_is_kept(render_config, commit):
    config = render_config(small_change_keep=0.0, short_subject_keep=0.0)

    assert dropped(config, facts(**commit)) is None


def test_an_added_function_is_no_small_change_although_no_old_line_changes(render_config):
    added = {"before": "".join(LINES), "after": "".join([*LINES[:250], *(["new\n"] * 100), *LINES[250:]])}

    assert dropped(render_config(small_change_keep=0.0), facts(**added)) is None


@pytest.mark.parametrize("subject", ["1.2.34 mends the parser", "2.10.12: mend it", "Release 1.2.3"])
def test_a_subject_that_says_more_than_a_version_is_no_version(render_config, subject):
    assert dropped(render_config(), facts(subject=subject)) is None


def test_the_first_rule_in_the_documented_order_decides(render_config):
    config = render_config(small_change_keep=0.0, short_subject_keep=0.0)
    worst = {"before": "x" * 100_000, "after": "", "subject": " update", "language": "cobol"}

    rules = []
    for mended in ({}, {"before": ""}, {"after": "y\n" * 300}, {"after": "y\n" * 9}, {"subject": "two words"}):
        worst |= mended
        rules.append(dropped(config, facts(**worst)).rule)
    assert rules == ["max_file_chars", "empty_after", "large_change", "whole_subject", "short_subject"]


@pytest.mark.parametrize(
    ("setting", "commit", "rule"),
    [
        ("small_change_keep", {"before": "a\n", "after": "b\n"}, "small_change"),
        ("large_change_keep", edited(0, 300), "large_change"),
        ("short_subject_keep", {"subject": "Mend it"}, "short_subject"),
    ],
)
def test_a_rule_spares_its_share_and_says_so(render_config, setting, commit, rule):
    config = render_config(**{setting: 0.1})
    found = [dropped(config, facts(**commit), file_id) for file_id in FILE_IDS]
    kept = [reason for reason in found if reason is None]

    assert {reason.rule for reason in found if reason} == {rule}
    assert all(reason.threshold.endswith("; else kept with probability 0.1") for reason in found if reason)
    assert 286 <= len(kept) <= 514, "400 of 4000 are expected, six standard deviations are 114"


def test_what_a_rule_spares_does_not_change_with_the_others_nor_with_the_order_of_commits(render_config):
    commit = facts(subject="Mend it", language="java")
    one, both = (
        render_config(short_subject_keep=0.5),
        render_config(short_subject_keep=0.5, language_keep={"java": 0.5}),
    )
    alone = {file_id: dropped(one, commit, file_id) for file_id in FILE_IDS}
    together = {file_id: dropped(both, commit, file_id) for file_id in reversed(FILE_IDS)}

    by_subject = [file_id for file_id, reason in alone.items() if reason]
    assert by_subject == [
        file_id for file_id in FILE_IDS if (together[file_id] or Drop("", "", "")).rule == "short_subject"
    ]
    shared = [file_id for file_id in FILE_IDS if together[file_id] is None]
    assert 830 <= len(shared) <= 1170, "a quarter of 4000: the draws of two rules are independent"


def test_a_change_that_is_small_and_large_at_once_is_refused(render_config):
    with pytest.raises(ValidationError, match="small_change_lines 200 reaches large_change_lines 200"):
        render_config(small_change_lines=200)
