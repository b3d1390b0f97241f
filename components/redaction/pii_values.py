"""What the templates' fields are filled with: personal data drawn by faker in many languages, and harmless look-alikes.

Each of the three parts of the labelled set has its own languages and countries and its own issuers of keys, so that
what is held out was not learned by heart. A value is a function of the generator that it is drawn with.
"""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Literal

from faker import Faker

from components.redaction.pii_labels import Entity

Part = Literal["train", "validation", "held_out"]
PARTS: tuple[Part, ...] = ("train", "validation", "held_out")

LOCALES: Mapping[Part, tuple[str, ...]] = {
    "train": (
        *("en_US",) * 8,
        *("en_GB",) * 4,
        *("az_AZ", "bg_BG", "cs_CZ", "de_AT", "de_CH", "de_DE", "de_DE", "es_CO", "es_ES", "es_ES", "es_MX", "et_EE"),
        *("fr_CA", "fr_CH", "fr_FR", "fr_FR", "hi_IN", "hy_AM", "it_IT", "it_IT", "ja_JP", "ka_GE", "lv_LV", "en_NG"),
        *("nl_BE", "nl_NL", "no_NO", "pl_PL", "pt_BR", "pt_BR", "pt_PT", "ru_RU", "ru_RU", "sl_SI", "sv_SE", "tr_TR"),
        *("tw_GH", "vi_VN", "zh_CN", "zh_CN", "zu_ZA", "tl_PH", "ga_IE", "ro_RO"),
    ),
    "validation": ("en_NZ", "en_KE", "da_DK", "sk_SK", "fr_BE", "uk_UA", "ko_KR", "es_AR"),
    "held_out": ("en_IE", "en_IN", "fi_FI", "hu_HU", "hr_HR", "lt_LT", "id_ID", "es_CL", "is_IS", "el_GR", "zh_TW"),
}
"""Where the persons come from; a locale named more than once is drawn more often."""

_HEX, _LOWER, _UPPER, _DIGITS = "0123456789abcdef", string.ascii_lowercase, string.ascii_uppercase, string.digits
_ALNUM = _LOWER + _UPPER + _DIGITS
_BASE64 = _ALNUM + "+/"
_URL_SAFE = _ALNUM + "-_"

# What precedes the drawn characters, of which alphabet they are and how many, as each issuer's manual says.
_PLAIN_KEYS = (
    *(("", _HEX, 32), ("", _HEX, 40), ("", _HEX, 64), ("", _ALNUM, 20), ("", _ALNUM, 32), ("", _ALNUM, 48)),
    *(
        ("", _BASE64, 40),
        ("", _BASE64, 64),
        ("", _URL_SAFE, 43),
        ("", _LOWER + _DIGITS, 25),
        ("", _UPPER + _DIGITS, 20),
    ),
)
_ISSUED_KEYS: Mapping[Part, tuple[tuple[str, str, int], ...]] = {
    "train": (
        *(("AKIA", _UPPER + _DIGITS, 16), ("ghp_", _ALNUM, 36), ("xoxb-", _DIGITS, 24), ("sk-", _ALNUM, 48)),
        *(("AIza", _URL_SAFE, 35), ("sk_live_", _ALNUM, 24), ("eyJhbGciOiJIUzI1NiJ9.eyJ", _URL_SAFE, 60)),
    ),
    "validation": (("ASIA", _UPPER + _DIGITS, 16), ("gho_", _ALNUM, 36), ("pk_test_", _ALNUM, 24), ("key-", _HEX, 32)),
    "held_out": (
        *(("glpat-", _URL_SAFE, 20), ("npm_", _ALNUM, 36), ("hf_", _ALNUM, 34), ("SG.", _URL_SAFE, 60)),
        *(("dop_v1_", _HEX, 64), ("shpat_", _HEX, 32), ("rk_live_", _ALNUM, 24), ("ya29.", _URL_SAFE, 68)),
    ),
}

_SECRET_NAMES = (
    *("api_key", "API_KEY", "apiKey", "apikey", "secret_key", "SECRET_KEY", "secretKey", "access_token", "accessToken"),
    *(
        "auth_token",
        "AUTH_TOKEN",
        "client_secret",
        "CLIENT_SECRET",
        "aws_secret_access_key",
        "token",
        "TOKEN",
        "secret",
    ),
    *("private_token", "consumer_key", "consumer_secret", "bearer_token", "webhook_secret", "signing_key", "app_key"),
)
_PASSWORD_NAMES = (
    *("password", "PASSWORD", "passwd", "pwd", "pass", "db_password", "DB_PASSWORD", "dbPassword", "root_password"),
    *("admin_password", "userPassword", "smtp_password", "passphrase", "ftp_pass", "mysql_pwd", "login_password"),
)
_USER_NAMES = ("username", "user", "USER", "userName", "login", "db_user", "DB_USER", "user_name", "account", "owner")
_IP_NAMES = (
    "host",
    "HOST",
    "server",
    "ip",
    "ip_address",
    "ipAddress",
    "gateway",
    "SERVER_IP",
    "remote_addr",
    "addr",
    "dns",
)
_LOCAL = ("127.0.0.1", "0.0.0.0", "localhost", "::1", "127.0.1.1")  # noqa: S104 - text for a template
_NETMASKS = ("255.255.255.0", "255.255.0.0", "255.255.255.240", "255.0.0.0")
_EXAMPLE_DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "test.com",
    "domain.com",
    "foo.com",
    "foo.bar",
    "localhost",
)
_EXAMPLE_BOXES = (
    "foo",
    "bar",
    "user",
    "me",
    "you",
    "john.doe",
    "jane",
    "test",
    "someone",
    "name",
    "your.name",
    "admin",
)
_NAME_FORMS = (
    *("{first} {last}",) * 12,
    *("{first} {m}. {last}", "{first} {m}. {last}", "{f}. {last}", "{f}. {m}. {last}", "{first} {other} {last}"),
    *("{last}, {first}", "{first}-{other} {last}", "{first} {last}-{another}"),
)
_BOX_FORMS = (*("{box}",) * 6, "{box}.{name}", "{name}_{box}", "{name}-{box}", "{box}{number}", "{box}+{name}")
_DOMAIN_FORMS = (
    *("{domain}",) * 8,
    *("{word}.{domain}", "{name}.ac.uk", "{name}.edu.au", "{word}.{name}.edu", "{name}.co.jp", "{word}-{name}.io"),
    *("{name}.com.br", "{name}.dev", "cs.{name}.edu", "{word}{name}.com"),
)
_PASSWORD_TAILS = ("", "1", "123", "!", "1!", "2019", "_2020", "@123", "#1", "99", "!!", "007", "$", "4ever")


@dataclass(frozen=True)
class Source:
    """What a value is drawn with: the part that it is for, its person's faker, and the numbers that decide."""

    part: Part
    faker: Any
    english: Any
    random: Random

    def of(self, choices: tuple[Any, ...]) -> Any:
        """One of `choices`."""
        return self.random.choice(choices)

    def letters(self, alphabet: str, length: int) -> str:
        """`length` characters of `alphabet`."""
        return "".join(self.random.choices(alphabet, k=length))


def source_of(part: Part, seed: int) -> Source:
    """A source whose every value depends on `part` and `seed` alone, until the next one is made."""
    random = Random(seed)
    english, local = _faker("en_US"), _faker(random.choice(LOCALES[part]))
    for faker in (english, local):
        faker.seed_instance(random.getrandbits(64))
    return Source(part, local, english, random)


@cache
def _faker(locale: str) -> Any:
    return Faker(locale)


def _name(s: Source) -> str:
    first, last = s.faker.first_name(), s.faker.last_name()
    return s.of(_NAME_FORMS).format(
        first=first,
        last=last,
        other=s.faker.first_name(),
        another=s.faker.last_name(),
        f=first[0],
        m=s.of(tuple(_UPPER)),
    )


def _email(s: Source) -> str:
    address: str = s.of((s.faker.ascii_free_email, s.faker.ascii_company_email, s.faker.ascii_company_email))()
    box, _, domain = address.partition("@")
    number, name = s.random.randint(1, 99), s.faker.user_name()
    box = s.of(_BOX_FORMS).format(box=box, name=name, number=number)
    domain = s.of(_DOMAIN_FORMS).format(domain=domain, name=domain.partition(".")[0], word=s.english.word())
    address = f"{box}@{domain}"
    form = s.random.random()
    return address.upper() if form < 0.02 else address.title() if form < 0.05 else address


def _example(s: Source) -> str:
    if s.random.random() < 0.3:
        return s.faker.ascii_safe_email()
    return f"{s.of(_EXAMPLE_BOXES)}@{s.of(_EXAMPLE_DOMAINS[:-1])}"


def _user(s: Source) -> str:
    name = s.faker.user_name()
    form = s.random.random()
    if form < 0.15:
        return f"{name}{s.random.randint(1, 999)}"
    if form < 0.25:
        return f"{name}{s.of(('-', '_'))}{s.of(('dev', 'x', 'code', 'gh', 'bot', 'lab'))}"
    if form < 0.3:
        return name.title()
    return name


def _key(s: Source) -> str:
    prefix, alphabet, length = s.of(_PLAIN_KEYS if s.random.random() < 0.6 else _ISSUED_KEYS[s.part])
    padding = "=" if alphabet is _BASE64 and s.random.random() < 0.3 else ""
    return prefix + s.letters(alphabet, length) + padding


def _password(s: Source) -> str:
    form = s.random.random()
    if form < 0.35:
        return s.letters(_ALNUM + s.of(("", "", "!@#$%^&*")), s.random.randint(8, 16))
    word = s.of((s.english.word, s.faker.user_name))() if form < 0.9 else s.letters(_LOWER, 6)
    word = s.of((word, word, word.title(), word.replace("a", "4").replace("o", "0").replace("e", "3")))
    return word + s.of(_PASSWORD_TAILS)


def _ip(s: Source) -> str:
    form = s.random.random()
    if form < 0.25:
        groups: list[str] = s.faker.ipv6().split(":")
        return ":".join(groups) if form < 0.15 else f"{':'.join(groups[:3])}::{groups[7]}"
    return s.faker.ipv4_private() if form < 0.45 else s.faker.ipv4_public()


def _version(s: Source) -> str:
    numbers = ".".join(str(s.random.randint(0, 20)) for _ in range(s.of((2, 3, 3, 3, 4))))
    return numbers + s.of(("", "", "", "-beta", "rc1", ".dev0"))


def _ident(s: Source) -> str:
    words = [s.english.word() for _ in range(s.of((1, 2, 2, 3)))]
    if s.random.random() < 0.3:
        return words[0] + "".join(word.title() for word in words[1:])
    return "_".join(words)


def _phrase(s: Source) -> str:
    language = s.of((s.faker, s.english, s.english))
    sentence: str = language.sentence(s.random.randint(3, 9))
    return sentence.rstrip(".") if s.random.random() < 0.5 else sentence[:1].lower() + sentence[1:].rstrip(".")


FIELDS: Mapping[str, tuple[Entity | None, Callable[[Source], str]]] = {
    "name": ("NAME", _name),
    "first": ("NAME", lambda s: s.faker.first_name()),
    "surname": ("NAME", lambda s: s.faker.last_name()),
    "email": ("EMAIL", _email),
    "example": ("EMAIL_EXAMPLE", _example),
    "user": ("USERNAME", _user),
    "key": ("KEY", _key),
    "ip": ("IP_ADDRESS", _ip),
    "ip4": ("IP_ADDRESS", lambda s: s.of((s.faker.ipv4_private, s.faker.ipv4_public, s.faker.ipv4_public))()),
    "password": ("PASSWORD", _password),
    "secret_name": (None, lambda s: s.of(_SECRET_NAMES)),
    "password_name": (None, lambda s: s.of(_PASSWORD_NAMES)),
    "user_name": (None, lambda s: s.of(_USER_NAMES)),
    "ip_name": (None, lambda s: s.of(_IP_NAMES)),
    "local": (None, lambda s: s.of(_LOCAL)),
    "netmask": (None, lambda s: s.of(_NETMASKS)),
    "phrase": (None, _phrase),
    "word": (None, lambda s: s.english.word()),
    "Word": (None, lambda s: s.english.word().title()),
    "title": (None, lambda s: " ".join(s.english.word().title() for _ in range(s.of((1, 2, 2, 3))))),
    "ident": (None, _ident),
    "CONST": (None, lambda s: _ident(s).upper()),
    "company": (None, lambda s: s.of((s.faker, s.english)).company()),
    "place": (None, lambda s: s.of((s.faker.city, s.faker.country))()),
    "host": (
        None,
        lambda s: f"{s.of(('www', 'api', 'git', 'db', 'mail'))}.{s.english.word()}.{s.of(('com', 'org', 'io'))}",
    ),
    "version": (None, _version),
    "oid": (None, lambda s: "1.3.6.1." + ".".join(str(s.random.randint(1, 999)) for _ in range(4))),
    "date": (None, lambda s: s.faker.date(s.of(("%Y-%m-%d", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y")))),
    "time": (None, lambda s: s.faker.time()),
    "year": (None, lambda s: str(s.random.randint(1990, 2024))),
    "int": (None, lambda s: str(s.random.randint(0, 9999))),
    "port": (None, lambda s: str(s.of((22, 80, 443, 3000, 3306, 5432, 6379, 8000, 8080, 9200, 27017)))),
    "uuid": (None, lambda s: s.faker.uuid4()),
    "md5": (None, lambda s: s.letters(_HEX, 32)),
    "sha1": (None, lambda s: s.letters(_HEX, 40)),
    "sha256": (None, lambda s: s.letters(_HEX, 64)),
    "digest": (None, lambda s: s.letters(_BASE64, 86) + "=="),
    "mac": (None, lambda s: s.of((":", "-")).join(s.letters(_HEX, 2) for _ in range(6))),
    "ip_commas": ("IP_ADDRESS", lambda s: s.faker.ipv4_public().replace(".", ", ")),
    "q": (None, lambda s: s.of(("'", '"'))),
}
"""What each field of a template is: the entity that its value is labelled with, if any, and how it is drawn."""
