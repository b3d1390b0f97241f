"""Threads from events: where they begin, what they tell in the end, and who is left out of them."""

import pytest

from components.issues.event_runs import RUN
from components.issues.threads import REMOVED_USER, assemble_thread, honour_opt_outs, identified
from components.sources.opt_outs import OptOuts
from components.sources.source_files import Refusal


def row(event_id, kind="comment", author="ann", text="", **more):
    usual = dict.fromkeys(RUN.names) | {"key": "0" * 32, "repository": "owner/project", "number": 7, "source": 0}
    told = {"event_id": event_id, "created_at": 1000 + event_id, "kind": kind, "author": author, "text": text}
    return usual | {"is_pull_request": False} | told | more


def told(thread):
    return [(event["kind"], event["author"], event["text"]) for event in thread["events"]]


def test_an_event_that_comes_twice_counts_once():
    thread = assemble_thread([row(1, "opened", text="a"), row(2, text="b"), row(2, text="b"), row(3, text="b")])
    assert told(thread) == [("opened", "ann", "a"), ("comment", "ann", "b"), ("comment", "ann", "b")]


def test_a_thread_that_began_before_the_first_file_is_given_its_beginning():
    opening = {"opening_author": "eve", "opened_at": 5}
    thread = assemble_thread([row(4, text="b", opening_text="It fails.", **opening), row(5, "closed", **opening)])
    assert told(thread) == [("opened", "eve", "It fails."), ("comment", "ann", "b"), ("closed", "ann", "")]
    assert thread["events"][0]["created_at"] == 5


def test_a_pull_request_that_was_opened_without_its_text_gets_it_from_a_comment():
    thread = assemble_thread(
        [row(1, "opened", "eve", is_pull_request=True), row(2, text="b", opening_text="It adds.", title="Add")]
    )
    assert told(thread) == [("opened", "eve", "It adds."), ("comment", "ann", "b")]
    assert (thread["title"], thread["path"], thread["is_pull_request"]) == ("Add", "pull/7", True)


def test_the_first_text_of_a_beginning_counts_and_the_last_of_all_else():
    rows = [
        row(1, "opened", text="first", title="Old", state="open", stars=1, license="MIT"),
        row(2, "closed", title="New", state="closed", stars=5, opening_text="edited"),
        row(3, text="hm"),
    ]
    thread = assemble_thread(rows)
    assert told(thread)[0] == ("opened", "ann", "first")
    assert [thread[name] for name in ("title", "state", "stars", "forks", "license", "updated_at", "path")] == [
        *("New", "closed", 5, None, "MIT", 1003, "issues/7")
    ]


def test_a_thread_of_which_only_its_end_is_known_has_no_beginning():
    assert told(assemble_thread([row(1, "closed", is_pull_request=True)])) == [("closed", "ann", "")]


def test_the_id_goes_by_place_and_words():
    one = identified(assemble_thread([row(1, "opened", text="\u00e9", title="T")]))
    assert one["size_bytes"] == 3
    assert one["file_id"] == identified(assemble_thread([row(1, "opened", text="\u00e9", title="T")]))["file_id"]
    for other in ({"title": "U"}, {"text": "e"}, {"number": 8}, {"repository": "owner/other"}):
        changed = {"title": "T", "text": "\u00e9"} | other
        assert one["file_id"] != identified(assemble_thread([row(1, "opened", **changed)]))["file_id"]


OPT_OUTS = OptOuts(repositories=frozenset({"owner/secret"}), users=frozenset({"eve"}))


@pytest.mark.parametrize("repository", ["owner/secret", "Owner/SECRET", "eve/tool", "EVE/tool"])
def test_a_thread_of_a_repository_that_is_left_out_is_refused(repository):
    refusal = honour_opt_outs(assemble_thread([row(1, "opened", text="a", repository=repository)]), OPT_OUTS)
    assert refusal == Refusal("opted_out_repository", repository, "not on the list of opt-outs")


@pytest.mark.parametrize("rows", [[row(1, "opened", "Eve"), row(2)], [row(1, author="eve"), row(2, "closed", "eve")]])
def test_a_thread_of_a_user_who_is_left_out_is_refused(rows):
    assert honour_opt_outs(assemble_thread(rows), OPT_OUTS).rule == "opted_out_user"


def test_messages_and_mentions_of_a_user_who_is_left_out_are_removed():
    rows = [
        row(1, "opened", text="Ask @EVE-2 or eve.", title="Eve says that eve knows"),
        row(2, author="eve", text="I know."),
        row(3, author="bob", text="Thanks @eve!"),
        row(4, "closed", "eve"),
    ]
    thread = honour_opt_outs(assemble_thread(rows), OPT_OUTS)
    assert told(thread) == [
        ("opened", "ann", f"Ask @EVE-2 or {REMOVED_USER}."),
        ("comment", "bob", f"Thanks @{REMOVED_USER}!"),
    ]
    assert thread["title"] == f"Eve says that {REMOVED_USER} knows"


def test_a_thread_without_such_users_is_left_as_it_is():
    thread = assemble_thread([row(1, "opened", text="eve, evelyn and eves")])
    assert honour_opt_outs(thread, OPT_OUTS) == thread
