"""What is taken for a secret and what is not. Tokens are drawn here: none was ever valid. Under a second."""

import random
import string

import pytest

from components.redaction.redact_secrets import Redactor
from components.redaction.secret_rules import RULES, entropy_bits, looks_random

REDACTOR = Redactor(("email", "ip_address", "key"), 3.0)


def _drawn(alphabet, length, seed=1):
    return "".join(random.Random(seed).choices(alphabet, k=length))


ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
PEM_BODY = "\n".join(_drawn(ALNUM + "+/", 64, seed) for seed in range(5))


def _redacted(text):
    return REDACTOR.redact(text.encode())[0].decode()


def _rules_of(text):
    return [finding.rule.name for finding in REDACTOR.redact(text.encode())[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Author: Jane Doe <jane.doe+code@mail.acme.org>", "# Author: Jane Doe <<EMAIL>>"),
        ("mailto:jane@acme.co.uk.", "mailto:<EMAIL>."),
        ('{"to": "a\\njane@acme.com"}', '{"to": "a\\n<EMAIL>"}'),
        ("Andr\u00e9 <andr\u00e9@acme.fr>", "Andr\u00e9 <<EMAIL>>"),
        ("\u8054\u7cfb\uff1ajane@acme.cn\u3002", "\u8054\u7cfb\uff1a<EMAIL>\u3002"),
        ("jane@acme.com,joe@acme.com", "<EMAIL>,<EMAIL>"),
    ],
)
def test_mail_addresses_are_redacted(text, expected):
    assert _redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com, jane@mail.example.org and root@localhost",
        "user@something.test and user@something.invalid",
        "git clone git@github.com:acme/tool.git",
        "ssh://jane@acme.com/srv and https://user@acme.com/",
        "pkg:npm/left-pad@1.0.24 and uuid@0.8.11",
        "scale = A@B.T; loss = weights@inputs.mean(0); x = a@b.is_valid",
        "@pytest.mark.parametrize",
        "logo@2x.png",
        '"%s@acme.com" % name',
        "algorithm posix-rename@openssh.com",
    ],
)
def test_what_only_looks_like_a_mail_address_stays(text):
    assert _redacted(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "connect to 52.2.144.13 now",
        'HOST = "134.213.44.18"',
        "http://8.9.10.11:8080/x",
        "dns server 1.2.3.4",
        "::ffff:52.2.144.13",
        "ping 2001:4860:4860::1234",
        'addr = "2a00:1450:4001:81b:0:0:0:200e"',
    ],
)
def test_public_addresses_are_replaced_by_private_ones_of_their_family(text):
    redacted = _redacted(text)
    assert redacted != text
    replacements = ("172.16.31.10", "fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b")
    assert any(replacement in redacted for replacement in replacements)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 0.0.0.0 10.1.2.3 192.168.1.1 172.20.0.1 169.254.1.1 255.255.255.0 224.0.0.1",
        "documentation: 192.0.2.1 198.51.100.7 203.0.113.9 2001:db8::1",
        "dns = 8.8.8.8, 1.1.1.1, 9.9.9.9 or 2001:4860:4860::8888",
        "__version__ = '1.2.3.4'",
        "server version 134.21.3.4",
        "requires tool==11.22.33.44, lib >= 23.45.67.89",
        "Chrome/91.0.44.114 and libfoo-52.1.2.3.tar.gz and v52.1.2.3 and 52.1.2.3-beta",
        'ObjectIdentifier("2.5.29.17") and OID 1.3.6.1.4.1.311',
        "RFC 9999 section 5.2.2.1",
        "999.1.2.3 and 52.001.2.3 and 1.2.3",
        "networks 52.94.0.0/22 and 2002::/16",
        "std::fe80::x, a[2001:2], 12:34:56, 00:11:22:33:44:55, 2024:10:11",
    ],
)
def test_addresses_of_nobody_and_versions_stay(text):
    assert _redacted(text) == text


def test_context_is_read_at_the_head_of_a_file_too():
    """BigCode slices text[start - 100 : end + 100]: with start < 100 that is empty and the exemption is lost."""
    tail = "\n" + "x" * 200
    assert _redacted("dns 1.2.3.4" + tail) == "dns 172.16.31.10" + tail
    assert _redacted("x" * 99 + " dns 1.2.3.4").endswith("dns 172.16.31.10")
    assert _redacted("version 52.2.144.13" + tail) == "version 52.2.144.13" + tail


ISSUED = {
    "aws_access_key": "AK" + "IA" + _drawn(string.ascii_uppercase + string.digits, 16),
    "github_token": "gh" + "p_" + _drawn(ALNUM, 36),
    "gitlab_token": "glp" + "at-" + _drawn(ALNUM, 20),
    "slack_token": "xo" + "xb-" + _drawn(string.digits, 12) + "-" + _drawn(ALNUM, 24),
    "google_key": "AI" + "za" + _drawn(ALNUM, 35),
    "stripe_key": "sk" + "_live_" + _drawn(ALNUM, 24),
    "npm_token": "np" + "m_" + _drawn(ALNUM, 36),
    "hugging_face_token": "h" + "f_" + _drawn(ALNUM, 34),
    "sendgrid_key": "S" + "G." + _drawn(ALNUM, 22) + "." + _drawn(ALNUM, 43, 2),
    "json_web_token": ".".join(("ey" + "J" + _drawn(ALNUM, 20), "ey" + "J" + _drawn(ALNUM, 30), _drawn(ALNUM, 43))),
}


@pytest.mark.parametrize("rule", ISSUED)
def test_issued_keys_are_redacted_wherever_they_stand(rule):
    assert _redacted(f"use {ISSUED[rule]}.") == "use <KEY>."
    assert _rules_of(f"use {ISSUED[rule]}.") == [rule]


def test_every_rule_has_a_name_of_its_own():
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "{}"',
        "'secretKey': '{}',",
        "AWS_SECRET_ACCESS_KEY={}\n",
        'password: "{}"',
        "auth_token => '{}'",
        'client_secret = b"{}"',
    ],
)
@pytest.mark.parametrize("value", [_drawn(ALNUM + "+/", 40, 3), _drawn(HEX, 32, 4)])
def test_drawn_strings_assigned_to_secret_names_are_redacted(line, value):
    assert _redacted(line.format(value)) == line.format("<KEY>")


@pytest.mark.parametrize(
    "text",
    [
        'key = "PKCS7PrivateKeyTypes"',
        'token_type = "invalid-mailbox"',
        "auth = _ossl_old_des_ks_struct_1_2\n",
        'password = "changeme-please-now"',
        'secret = "aaaaaaaaaaaaaaaaaaaaaaa1"',
        f'key_sha256 = "{_drawn(HEX, 64, 5)}"',
        'key = "b776a44b-df37-4438-9be4-a27494e4271a"',
        'key = "AKIAIOSFODNN7EXAMPLE"',
        'key = b"0123456789abcdef0123456789abcdef"',
        'key = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"',
        f'"AWS::KMS::Key": "{_drawn(HEX, 16, 6)}"',
        f'name = "{_drawn(ALNUM, 40, 7)}"',
        f'"next_page_token": "{_drawn(ALNUM, 40, 7)}"',
        f"PUBLIC_KEY = '{_drawn(ALNUM, 40, 7)}'",
        f'"KeyId": "{_drawn(ALNUM, 40, 7)}"',
        'key = "${API_TOKEN_FROM_ENVIRONMENT_1}"',
        "postgres://user:password@host/db",
    ],
)
def test_words_identifiers_digests_and_templates_stay(text):
    assert _redacted(text) == text


def test_the_password_of_a_url_is_redacted_and_nothing_else_of_it():
    password = _drawn(ALNUM, 20, 8)
    redacted, _ = Redactor(("password",), 3.0).redact(f"postgres://jane:{password}@db.acme.com/x".encode())
    assert redacted == b"postgres://jane:<PASSWORD>@db.acme.com/x"


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "])
def test_the_body_of_a_private_key_goes_and_its_frame_stays(kind):
    text = f"-----BEGIN {kind}PRIVATE KEY-----\n{{}}\n-----END {kind}PRIVATE KEY-----\n"
    assert _redacted(text.format(PEM_BODY)) == text.format("<KEY>")
    quoted = 'PEM = "-----BEGIN PRIVATE KEY-----\\n" "{}\\n" "-----END PRIVATE KEY-----"'
    assert _redacted(quoted.format(PEM_BODY.split("\n")[0])) == quoted.format("<KEY>")


def test_certificates_and_public_keys_stay():
    text = f"-----BEGIN CERTIFICATE-----\n{PEM_BODY}\n-----END CERTIFICATE-----\n"
    assert _redacted(text) == text


def test_entropy_is_that_of_shannon():
    assert entropy_bits(b"") == 0
    assert entropy_bits(b"aaaa") == 0
    assert entropy_bits(b"abab") == 1
    assert entropy_bits(bytes(range(256))) == 8


def test_drawn_characters_look_random_and_names_do_not():
    for alphabet, at_least in ((ALNUM, 0.95), (string.ascii_lowercase + string.digits, 0.85)):
        drawn = [_drawn(alphabet, 40, seed).encode() for seed in range(200)]
        assert sum(map(looks_random, drawn)) >= at_least * len(drawn)
    for name in (b"S3AccessPointAttachments", b"Ipv6CidrAssociations", b"cache_creation_input_tokens_2", b"12345678"):
        assert not looks_random(name)


def test_the_entropy_limit_decides_what_is_a_key():
    text = b"key = 'x1y2x1y2x1y2x1y2x1y2'"
    assert Redactor(("key",), 1.9).redact(text)[0] == b"key = '<KEY>'"
    assert Redactor(("key",), 2.1).redact(text)[0] == text
