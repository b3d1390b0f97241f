"""What is taken out of a conversation: mail, middles, bots and their calls; and which are too short or too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.issues.message_rules import (
    BOT_NAMES,
    BOT_PARTS,
    BOT_SUFFIXES,
    TRUNCATED,
    SizeLimits,
    Turn,
    is_bot,
    size_refusal,
    without_bots,
    without_mail,
    without_middle,
)

LIMITS = SizeLimits(min_text_chars=200, min_users=2, max_monologue_chars=7000, max_monologue_events=10)

GMAIL = """I agree.

On Tue, Mar 12, 2024 at 9:41 AM Bob B. <notifications@github.com> wrote:

> Shall we?
>
> --
> Reply to this email directly or view it on GitHub:
> https://github.com/owner/project/issues/1
"""
WRAPPED = """I agree.

On Tuesday, 12 March 2024, Bob with a very long name indeed <
notifications@github.com> wrote:

> Shall we?

And one more thing."""
OUTLOOK = """I agree.
____________________________________________
From: Bob B.
Sent: Tuesday, March 12, 2024 10:02
To: owner/project
Subject: Re: [owner/project] Shall we? (#1)

Shall we?

You are receiving this because you commented.
Reply to this email directly, view it on GitHub<https://github.com/owner/project/issues/1>, or mute
the thread<https://github.com/notifications/unsubscribe-auth/AAAA>.
"""
OTHER_MAILBOX = """I agree.

2024-03-12 9:41 GMT+01:00 Bob B. <bob@example.org> wrote:
> Shall we?
> It is time.
"""
FOOTER = """I agree.

\u2014
You are receiving this because you were mentioned.
Reply to this email directly, view it on GitHub, or unsubscribe.
"""


@pytest.mark.parametrize("text", [GMAIL, OUTLOOK, OTHER_MAILBOX, FOOTER])
def test_what_a_mail_program_adds_goes(text):
    assert without_mail(text) == "I agree."


def test_what_is_written_below_the_quotation_stays():
    assert without_mail(WRAPPED) == "I agree.\n\nAnd one more thing."


def test_sign_offs_go():
    text = "Fix it.\n\nSigned-off-by: Ann B <ann@example.org>\n  Signed-off-by: Bob\nThat is all."
    assert without_mail(text) == "Fix it.\n\nThat is all."


@pytest.mark.parametrize(
    "text",
    [
        "> Does it work?\n\nYes.\n\n> On all systems?\n\nOn most.",
        "On Monday at 9:41 Bob wrote:\nthe whole thing anew.",
        "The log of 10:15 wrote: nothing.\n\n> quoted",
        "```\nFrom: a\nTo: b\n```\nThis mail is parsed wrongly.",
        "def __init__(self): pass  # " + "_" * 19,
    ],
)
def test_what_only_resembles_mail_stays(text):
    assert without_mail(text) == text


@given(st.text(alphabet="ab >:\n_", max_size=60))
def test_a_text_without_the_marks_of_mail_stays(text):
    assert without_mail(text) == text.strip()


def test_a_hostile_message_is_read_in_linear_time():
    for text in ("From:" * 50_000, "On " * 100_000, "> " * 100_000 + "wrote:", "On 1:1 wrote:\n>" * 20_000):
        assert len(without_mail(text)) <= len(text)


def test_a_long_message_keeps_its_beginning_and_its_last_lines():
    """The paper's numbers: at most 100 lines, the last 20 among them."""
    lines = [f"line {number}" for number in range(150)]
    cut = without_middle("\n".join(lines), 100, 20).split("\n")
    assert cut == [*lines[:80], TRUNCATED, *lines[-20:]]
    assert without_middle("\n".join(lines[:100]), 100, 20).split("\n") == lines[:100]


def test_the_numbers_of_the_code_cut_to_sixty_and_twenty_lines():
    lines = [str(number) for number in range(81)]
    assert without_middle("\n".join(lines), 80, 20).split("\n") == [*lines[:60], TRUNCATED, *lines[-20:]]


@given(st.lists(st.text(alphabet="ab", max_size=2), min_size=1, max_size=40), st.integers(2, 20), st.data())
def test_a_cut_message_has_as_many_lines_as_are_allowed_and_invents_none(lines, max_lines, data):
    last = data.draw(st.integers(1, max_lines - 1))
    cut = without_middle("\n".join(lines), max_lines, last).split("\n")
    kept = [line for line in cut if line != TRUNCATED]
    assert len(kept) == min(len(lines), max_lines)
    assert kept == (lines if len(lines) <= max_lines else lines[: max_lines - last] + lines[-last:])


@pytest.mark.parametrize(
    "login",
    [
        *(
            "dependabot[bot]",
            "CLAassistant",
            "codecov-io",
            "k8s-ci-robot",
            "jenkinsadmin",
            "bors-servo",
            "my-test-user",
        ),
        *("RenovateBot", "scala-jenkins", "pytorch-ci", "acme-build", "x-linter", "travis", "ros-cloud"),
    ],
)
def test_bots_are_known_by_name_part_or_ending(login):
    assert is_bot(login)


@pytest.mark.parametrize("login", ["alice", "botanist", "cidney", "builder", "test-driver", "cloudy", "ciara"])
def test_people_are_not_bots(login):
    assert not is_bot(login)


def test_the_service_account_suffix_matches_though_the_login_is_lower_cased():
    """The defect of the reference: it holds `-Service-Account` against a login in lower case."""
    assert is_bot("Acme-Service-Account")
    assert is_bot("acme-service-account")


def test_the_table_of_bots_is_in_lower_case_and_complete():
    table = (*BOT_NAMES, *BOT_PARTS, *BOT_SUFFIXES)
    assert [entry for entry in table if entry != entry.lower()] == []
    assert (len(BOT_NAMES), len(BOT_PARTS), len(BOT_SUFFIXES)) == (15, 7, 13)


def talk(*turns):
    return [Turn(author, "comment", text) for author, text in turns]


def test_the_call_of_the_first_bot_is_removed_too():
    """The defect of the reference: the message that called the first bot of a thread stays."""
    turns = talk(("ann", "@merge-bot merge this"), ("merge-bot", "Merging."), ("bob", "Nice."))
    kept, removed = without_bots(turns)
    assert kept == talk(("bob", "Nice."))
    assert removed == {"bot": 1, "bot_call": 1}


@pytest.mark.parametrize("call", ["/retest", "/lgtm\n/approve", "Merge-Bot, go", "hey @merge-bot"])
def test_a_call_names_the_bot_or_begins_with_a_slash(call):
    assert without_bots(talk(("ann", call), ("merge-bot", "ok")))[0] == []


@pytest.mark.parametrize("text", ["I like it.", "see /usr/lib", "merge-bots are fun", "@other-bot go"])
def test_other_messages_before_a_bot_stay(text):
    assert without_bots(talk(("ann", text), ("merge-bot", "ok")))[0] == talk(("ann", text))


def test_the_suffix_of_apps_is_not_part_of_what_they_are_called():
    assert without_bots(talk(("ann", "@dependabot rebase"), ("dependabot[bot]", "ok")))[0] == []


def test_only_the_message_right_before_is_a_call():
    turns = talk(("ann", "/test"), ("bob", "Wait."), ("a-bot", "1"), ("b-bot", "a-bot is done"))
    kept, removed = without_bots(turns)
    assert kept == talk(("ann", "/test"), ("bob", "Wait."))
    assert removed == {"bot": 2}


def test_what_is_between_messages_does_not_hide_a_call_and_a_bots_closing_stays():
    turns = [
        Turn("ann", "opened", "It fails."),
        Turn("ann", "comment", "/close"),
        Turn("x-bot", "closed", ""),
        Turn("x-bot", "comment", "Closed."),
    ]
    assert without_bots(turns)[0] == [turns[0], turns[2]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["ann", "x-bot", "y-ci"]), st.sampled_from(["/go", "x-bot", "text"])), max_size=12
    )
)
def test_no_bot_is_left_and_what_is_left_keeps_its_order(pairs):
    turns = talk(*pairs)
    kept, removed = without_bots(turns)
    assert not any(is_bot(turn.author) for turn in kept)
    assert len(turns) == len(kept) + removed.total()
    rest = iter(turns)
    assert all(any(turn is other for other in rest) for turn in kept)


@pytest.mark.parametrize(
    ("turns", "rule", "value"),
    [
        ([("ann", "x" * 199)], "min_text_chars", "199"),
        ([("ann", "x" * 100), ("bob", "x" * 99)], "min_text_chars", "199"),
        ([("ann", "x" * 200)], None, None),
        ([("ann", "x" * 7000)], None, None),
        ([("ann", "x" * 7001)], "max_monologue_chars", "7001"),
        ([("ann", "x" * 4000), ("Ann", "x" * 4000)], "max_monologue_chars", "8000"),
        ([("ann", "x" * 4000), ("bob", "x" * 4000)], None, None),
        ([("ann", "x" * 30)] * 10, None, None),
        ([("ann", "x" * 30)] * 11, "max_monologue_events", "11"),
        ([("ann", "x" * 30)] * 11 + [("bob", "")], None, None),
        ([], "min_text_chars", "0"),
    ],
)
def test_size_and_users(turns, rule, value):
    refusal = size_refusal(talk(*turns), LIMITS)
    assert (refusal and refusal.rule, refusal and refusal.value) == (rule, value)


def test_who_only_closes_is_no_second_user_but_an_event():
    turns = [*talk(*[("ann", "x" * 30)] * 10), Turn("bob", "closed", "")]
    assert size_refusal(turns, LIMITS).rule == "max_monologue_events"
