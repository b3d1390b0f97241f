"""What is announced as personal is found to the byte; what only looks so stays."""

import pytest

from components.redaction.personal_rules import PERSONAL_RULES
from components.redaction.redact_secrets import Redactor
from components.redaction.secret_rules import RULES

REDACTOR = Redactor(("password", "name", "username", "id"), 3.0)


def found(text):
    """Rule and value of each finding."""
    content = text.encode()
    _, findings = REDACTOR.redact(content)
    return [(f.rule.name, content[f.start_byte : f.end_byte].decode()) for f in findings]


@pytest.mark.parametrize(
    ("text", "rule", "value"),
    [
        ("password = 'hunter2!'", "assigned_password", "hunter2!"),
        ('"db_password": "Sommer2019"', "assigned_password", "Sommer2019"),
        ("PASSWD := `tr0ub4dor&3`", "assigned_password", "tr0ub4dor&3"),
        ("pwd => 'a.b-c_d!'", "assigned_password", "a.b-c_d!"),
        ("url = 'postgres://ada:s3cr3t!pw@db.acme.com/x'", "url_password", "s3cr3t!pw"),
        ("# Author: Ada Lovelace", "announced_name", "Ada Lovelace"),
        (" * @author Jean-Luc P. Picard\n", "announced_name", "Jean-Luc P. Picard"),
        ("__author__ = 'Guido van Rossum'", "announced_name", "Guido van Rossum"),
        ("Signed-off-by: Ren\u00e9 M\u00fcller <x>", "announced_name", "Ren\u00e9 M\u00fcller"),
        ("open('/home/adalove/notes.txt')", "home_directory", "adalove"),
        ("C:\\\\Users\\\\ada.l\\\\Desktop", "home_directory", "ada.l"),
        ("ssn = '123-45-6789'", "social_security_number", "123-45-6789"),
        ("card: 4539 1488 0343 6468? no, card 4539 1488 0343 6467", "payment_card", "4539 1488 0343 6467"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "bank_account", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_what_is_announced_is_found_to_the_byte(text, rule, value):
    assert found(text) == [(rule, value)]


@pytest.mark.parametrize(
    "text",
    [
        "password = 'password'",
        "password = '<your password>'",
        "password = '${DB_PASSWORD}'",
        "password = '%s'",
        "password = os.environ['PASSWORD_FILE']",
        "password = 'get_password()'",
        "password = 'config.database.password'",
        "password: '/run/secrets/db-1'",
        "password = 'correct'",
        "password = 'changeme-please-now'",
        "password = 'abc'",
        "git clone https://user:password@acme.com/x",
        "# Copyright (c) 2020, authors Ada Lovelace",
        "# Author: the Foo Project Team",
        "Author: Example Software Foundation",
        "author = author_of(book)",
        "@author ada",
        "/home/user/.cache",
        "/Users/Shared/x",
        "ssn = '000-45-6789'",
        "ssn = '987-65-4321'",
        "build 123-45-6789",
        "card 4111 1111 1111 1112",
        "serial 4539 1488 0343 6467",
        "card 4111 1111 1111 1111",
        "DE88 3704 0044 0532 0130 00",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_what_only_looks_so_stays(text):
    assert found(text) == []


def test_a_rule_whose_match_may_leave_its_line_says_so():
    for rule in (*RULES, *PERSONAL_RULES):
        may_leave = b"[^<]" in rule.pattern
        assert (rule.begins is not None) == may_leave, rule.name


def test_each_rule_has_a_name_of_its_own():
    names = [rule.name for rule in (*RULES, *PERSONAL_RULES)]
    assert len(set(names)) == len(names)


def test_what_is_far_into_a_text_is_found_as_at_its_start():
    line = "password = 'hunter2!' # Author: Ada Lovelace\n"
    alone, _ = REDACTOR.redact(line.encode())
    padding = "x = 1\n" * 5000
    whole, findings = REDACTOR.redact(f"{padding}{line}{padding}{line}".encode())
    assert whole == padding.encode() + alone + padding.encode() + alone
    assert len(findings) == 4
