"""Redaction as a pure function and as a step. About 5 s."""

import hashlib
import re
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.markup import Mark, mark, split_marks
from components.redaction import redact_secrets
from components.redaction.config import RedactSecretsConfig
from components.redaction.redact_secrets import REDACTIONS, Redactor
from components.redaction.replaced_text import IPV4_REPLACEMENTS, IPV6_REPLACEMENTS, PLACEHOLDERS
from components.tables import read_dropped, read_files

ENTITIES = ("email", "ip_address", "key", "password", "name", "username", "id")
REDACTOR = Redactor(ENTITIES, 3.0)
REPLACEMENTS = (*PLACEHOLDERS.values(), *IPV4_REPLACEMENTS, *IPV6_REPLACEMENTS)

# Neighbours of one another in every combination: what is replaced changes the surroundings of what is not.
pieces = st.sampled_from(
    [
        *("Author: Ada Lovelace", "@author ", "password='hunter2!'", "/home/adalove/", "SSN 123-45-6789", "card 4111 "),
        *("4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "http://ada:s3cr3t!pw@acme.com/", "Signed-off-by: "),
        *("version ", "dns ", "server=", "key=", "token: '", 'password = "', "sha256 ", "://a:", "://", "rfc "),
        *(
            "jane@acme.com",
            "version@acme.com",
            "joe@example.com",
            "@",
            ".",
            "'",
            '"',
            "\n",
            " ",
            "-",
            "\\n",
            "\u00e9",
            "<KEY>",
        ),
        *("52.2.144.13", "8.9.10.11", "1.2.3.4", "10.0.0.1", "134.213.44.18", "2001:4860:4860::1234", "2001:db8::1"),
        *("Xk9mP2vL5nQ8rT3wY7zB", "9f8e7d6c5b4a39281706f5e4d3c2b1a0", "gh" + "p_Xk9mP2vL5nQ8rT3wY7zBXk9mP2vL5nQ8rT3w"),
        *(mark("commit_msg"), mark("issue_comment"), "\ufdd0", "\ufdd1"),
        *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "Qk9mP2vL5nQ8rT3wY7zBXk9mP2vL5nQ8rT3w" * 3),
    ]
)
texts = st.lists(pieces | st.text(max_size=4), max_size=14).map("".join)


@given(texts)
def test_redacting_twice_is_redacting_once(text):
    once, _ = REDACTOR.redact(text.encode())
    twice, found = REDACTOR.redact(once)
    assert twice == once
    assert found == []


@given(st.lists(texts, min_size=1, max_size=6))
def test_rows_are_suspected_wherever_they_lie_among_others(rows):
    contents = [row.encode() for row in rows]
    suspected = REDACTOR.suspects(contents)
    assert suspected == sorted(set(suspected))
    touched = [row for row, content in enumerate(contents) if REDACTOR.redact(content)[1]]
    assert set(touched) <= set(suspected)


@given(texts)
def test_nothing_outside_the_reported_spans_changes(text):
    content = text.encode()
    redacted, findings = REDACTOR.redact(content)
    position = original = 0
    for finding in findings:
        between = content[original : finding.start_byte]
        assert redacted[position : position + len(between)] == between
        position += len(between)
        assert finding.replacement in REPLACEMENTS
        assert redacted[position : position + len(finding.replacement)] == finding.replacement
        position += len(finding.replacement)
        original = finding.end_byte
    assert redacted[position:] == content[original:]
    redacted.decode("utf-8")


@given(texts)
def test_no_mark_of_a_structured_document_is_touched(text):
    redacted, findings = REDACTOR.redact(text.encode())
    marks = [piece for piece in split_marks(text) if isinstance(piece, Mark)]
    assert [piece for piece in split_marks(redacted.decode()) if isinstance(piece, Mark)] == marks
    spans = [text.encode()[finding.start_byte : finding.end_byte].decode() for finding in findings]
    assert all(not isinstance(piece, Mark) for span in spans for piece in split_marks(span))


def test_a_key_that_a_commit_cuts_is_redacted_on_both_sides_and_the_message_between_stays():
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n" * 3
    before, message, after = mark("commit_before"), mark("commit_msg"), mark("commit_after")
    text = (
        f"{before}-----BEGIN PRIVATE KEY-----\n{body}{message}Rotate the key{after}x\n{body}-----END PRIVATE KEY-----\n"
    )
    redacted, findings = REDACTOR.redact(text.encode())
    assert redacted.decode() == text.replace(body, "<KEY>\n")
    assert [finding.rule.name for finding in findings] == ["private_key", "private_key"]


@given(texts)
def test_spans_are_apart_and_in_order(text):
    _, findings = REDACTOR.redact(text.encode())
    edges = [edge for finding in findings for edge in (finding.start_byte, finding.end_byte)]
    assert edges == sorted(edges)
    assert all(finding.start_byte < finding.end_byte for finding in findings)


def test_one_address_has_one_replacement_in_a_document_and_others_have_others():
    hosts = [f"52.2.144.{number}" for number in range(1, 6)]
    redacted, _ = REDACTOR.redact(" ".join([*hosts, *hosts]).encode())
    found = redacted.split()
    assert found[:5] == found[5:]
    assert found[:5] == list(IPV4_REPLACEMENTS)


def test_a_span_that_only_shows_after_a_replacement_is_reported_where_it_stood():
    """The name of the mailbox holds the word that exempts the address after it, and it goes."""
    text = b"version@acme.com 134.213.44.18"
    redacted, findings = REDACTOR.redact(text)
    assert redacted == b"<EMAIL> 172.16.31.10"
    assert [text[finding.start_byte : finding.end_byte] for finding in findings] == text.split()


def test_a_list_of_addresses_that_show_one_after_another_takes_no_more_than_seconds():
    """Each is a new one, seen only when the mailbox before it is gone; quadratic, it would take many minutes."""
    lines = [f"version@acme.com 134.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(20_000)]
    started = time.process_time()
    redacted, findings = REDACTOR.redact("".join(lines).encode())
    assert time.process_time() - started < 60
    assert len(findings) == 40_000
    assert redacted.splitlines()[:6] == [b"<EMAIL> " + IPV4_REPLACEMENTS[n % 5] for n in range(6)]


def test_a_line_on_which_each_secret_hides_the_next_is_done_with_after_some_rounds():
    """A name hides the key behind it, and a word in this key the next name; one by one it would take minutes."""
    text = ("Author: Ada Nextpage_token='Xk9licenseP2vL5nQ8rT3w' " * 1_500).encode()
    started = time.process_time()
    redacted, findings = REDACTOR.redact(text)
    assert time.process_time() - started < 30
    assert redacted == b"Author: <NAME>_token='<KEY>' " * 1_500
    assert len(findings) == 3_000
    assert REDACTOR.redact(redacted) == (redacted, [])


def test_only_what_changed_is_looked_at_again():
    """A line that lost something may show more; one that did not holds nothing new."""
    hidden = "Author: Ada Nextpage_token='Xk9licenseP2vL5nQ8rT3w' " * 3
    text = "".join(f"{hidden}line {n}\n" for n in range(300)).encode()
    redacted, _ = REDACTOR.redact(text)
    assert (
        redacted
        == "".join(f"{'Author: <NAME>_token=<KEY> ' * 3}line {n}\n" for n in range(300))
        .replace("<KEY>", "'<KEY>'")
        .encode()
    )
    assert REDACTOR.redact(redacted) == (redacted, [])


def test_only_the_asked_entities_are_redacted():
    text = b"jane@acme.com at host 52.2.144.13"
    assert Redactor(("email",), 3.0).redact(text)[0] == b"<EMAIL> at host 52.2.144.13"
    assert Redactor(("ip_address",), 3.0).redact(text)[0] == b"jane@acme.com at host 172.16.31.10"


def test_no_model_is_loaded_for_a_match_and_no_document_is_written_to_a_temporary_file():
    """The reference loads its gibberish model anew for every match and hands each document over in a file."""

    def bytes_read_and_written():
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["rchar"]), int(counts["wchar"])

    text = b"".join(b"token = 'Xk9mP2vL5nQ8rT3wY7z%d' # jane@acme.com\n" % number for number in range(1000))
    REDACTOR.redact(text)
    before = bytes_read_and_written()
    assert len(REDACTOR.redact(text)[1]) == 2000
    after = bytes_read_and_written()
    assert after[0] - before[0] < 1000  # of /proc/self/io itself
    assert after[1] == before[1]


def test_the_library_of_python_is_redacted_sensibly(library_files):
    mailboxes: set[str] = set()
    for row in library_files:
        content = row["content"].encode()
        redacted, findings = REDACTOR.redact(content)
        assert REDACTOR.redact(redacted) == (redacted, [])
        for finding in findings:
            span = content[finding.start_byte : finding.end_byte].decode()
            if finding.rule.entity == "email":
                assert re.fullmatch(r"[^@\s]+@[\w.-]+\.[A-Za-z]{2,}", span)
                mailboxes.add(span)
            # No key was ever left in the library's own modules.
            assert finding.rule.entity != "key", (row["path"], span)
    assert len(mailboxes) >= 20


@pytest.fixture
def config() -> RedactSecretsConfig:
    return RedactSecretsConfig(recipe=1, entities=("email", "ip_address", "key"), min_key_entropy_bits=3.0)


def redacted(config, table, out):
    """Run the step without a tagger."""
    tagger = out.with_name(f"{out.name} tagger")
    tagger.mkdir()
    (tagger / "tagger.json").write_text('{"enabled": false, "encoder": null, "overlap_tokens": 0}')
    work = out.with_name(f"{out.name} work")
    return redact_secrets.run(config, permitted_files=table, pii_tagger=tagger, out=out, work_dir=work)


ROWS = [
    {"content": "# jane@acme.com wrote this\nHOST = '52.2.144.13'\n"},
    {"content": "nothing here\n"},
    {"content": "password = 'Xk9mP2vL5nQ8rT3wY7zB'\n# jane@acme.com\n"},
]


def test_the_step_keeps_every_file_and_its_identity(tmp_path, table_of, config):
    table = table_of(ROWS)
    out = tmp_path / "out"
    out.mkdir()
    summary = redacted(config, table, out)
    before = [row for batch in read_files(table) for row in batch.to_pylist()]
    after = [row for batch in read_files(out) for row in batch.to_pylist()]
    assert [row["content"] for row in after] == [
        "# <EMAIL> wrote this\nHOST = '172.16.31.10'\n",
        "nothing here\n",
        "password = '<KEY>'\n# <EMAIL>\n",
    ]
    changing = {"content", "content_sha256", "size_bytes"}
    for old, new in zip(before, after, strict=True):
        assert {name: old[name] for name in old.keys() - changing} == {
            name: new[name] for name in new.keys() - changing
        }
        assert new["content_sha256"] == hashlib.sha256(new["content"].encode()).hexdigest()
        assert new["size_bytes"] == len(new["content"].encode())
    assert list(read_dropped(out)) == []
    assert summary.touched_files == 2
    assert summary.files.kept_files == 3
    assert summary.redactions_by_entity == {"email": 2, "ip_address": 1, "key": 1}
    assert summary.redactions_by_rule == {"assigned_quoted": 1, "email": 2, "ipv4": 1}


def test_the_findings_say_where_and_never_what(tmp_path, table_of, config):
    table = table_of(ROWS)
    out = tmp_path / "out"
    out.mkdir()
    redacted(config, table, out)
    contents = {row["file_id"]: row["content"] for batch in read_files(table) for row in batch.to_pylist()}
    findings = pq.read_table(out / "redactions-00000.parquet")
    assert findings.schema.equals(REDACTIONS)
    spans = [contents[row["file_id"]].encode()[row["start_byte"] : row["end_byte"]] for row in findings.to_pylist()]
    assert spans == [b"jane@acme.com", b"52.2.144.13", b"Xk9mP2vL5nQ8rT3wY7zB", b"jane@acme.com"]
    for path in out.iterdir():
        stored = path.read_bytes() + str(pq.read_table(path).to_pylist()).encode()
        assert not any(span in stored for span in spans)


def test_the_same_input_gives_the_same_bytes(tmp_path, table_of, config, library_files):
    table = table_of([*ROWS, *library_files])
    outs = [tmp_path / name for name in ("first", "second")]
    summaries = []
    for out in outs:
        out.mkdir()
        summaries.append(redacted(config, table, out))
    assert summaries[0] == summaries[1]
    names = sorted(path.name for path in outs[0].iterdir())
    shards = [name for name in names if name.startswith("files-")]
    found = [name for name in names if name.startswith("redactions-")]
    assert names == ["dropped-00000.parquet", *shards, *found]
    assert found
    assert all((outs[0] / name).read_bytes() == (outs[1] / name).read_bytes() for name in names)


def test_a_table_without_secrets_passes_unchanged_and_an_entity_without_findings_counts_zero(
    tmp_path, table_of, config
):
    table = table_of([{"content": "x = 1\n"}])
    out = tmp_path / "out"
    out.mkdir()
    summary = redacted(config, table, out)
    assert summary.redactions_by_entity == {"email": 0, "ip_address": 0, "key": 0}
    assert [batch.to_pylist() for batch in read_files(out)] == [batch.to_pylist() for batch in read_files(table)]
    assert not list(out.glob("redactions-*"))
