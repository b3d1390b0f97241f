"""Secrets and personal data with their spans: our rules against detect-secrets and against BigCode's regexes.

detect-secrets is asked as BigCode's pipeline asked it: a file in a temporary directory, its plugins, every finding. Its
own verdicts on keys and BigCode's regexes for e-mail and addresses are what a StarCoder pipeline runs on each file.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.comparison import Comparison, alternate, source_texts
from components.redaction.redact_secrets import Redactor

SAMPLE_BYTES = 40_000_000
PEER_BYTES = 1_500_000
ROWS_AT_ONCE = 2_000  # a row group

# BigCode's patterns as the papers and the pipeline's notes describe them, written anew: a mailbox between delimiters,
# four octets of 0 to 255 between delimiters, and eight groups of hex digits or a compressed form.
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
_LEFT, _RIGHT = r"(?:^|[\b\s@?,!;:'\")(.])", r"(?:$|[\b\s@?,!;:'\")(.])"
_EMAIL = re.compile(_LEFT + r"([^\s@,?!;:)(]+@[^\s@,?!;:)(]+\.[^\s@,?!;:)(.]{2,})" + _RIGHT)
_IPV4 = re.compile(_LEFT + rf"((?:{_OCTET}\.){{3}}{_OCTET})" + _RIGHT)
_GROUP = r"[0-9a-fA-F]{1,4}"
_IPV6 = re.compile(rf"((?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,7}}:|(?:{_GROUP}:){{1,6}}:{_GROUP})")


def compare() -> list[Comparison]:
    """Two rows: against detect-secrets, and against the regexes."""
    texts = source_texts(SAMPLE_BYTES)
    few = _share(texts, PEER_BYTES)
    redactor = Redactor(("email", "ip_address", "key", "password", "name", "username", "id"), 3.0)

    def redact() -> None:
        for first in range(0, len(texts), ROWS_AT_ONCE):
            contents = texts[first : first + ROWS_AT_ONCE]
            for row in redactor.suspects(contents):
                redactor.redact(contents[row])

    strings = [text.decode() for text in few]

    def search() -> None:
        for text in strings:
            for pattern in (_EMAIL, _IPV4, _IPV6):
                [match.span(1) for match in pattern.finditer(text)]

    rows: list[Comparison] = []
    megabytes, fewer = sum(map(len, texts)) / 1e6, sum(map(len, few)) / 1e6
    for peer, work in (("detect-secrets, as BigCode asks it", _detect_secrets(few)), ("BigCode's regexes, re", search)):
        seconds = alternate(redact, work, repetitions=3)
        rows.append(Comparison("secrets and personal data, spans, 7 kinds", "MB/s", megabytes, peer, *seconds, fewer))
    return rows


def _share(texts: list[bytes], max_bytes: int) -> list[bytes]:
    """Files from all over the sample, at most so many bytes."""
    step = max(1, sum(map(len, texts)) // max_bytes)
    return texts[::step]


def _detect_secrets(texts: list[bytes]) -> Callable[[], None]:
    from detect_secrets import SecretsCollection  # noqa: PLC0415 - a peer, installed for `make bench` alone
    from detect_secrets.settings import default_settings  # noqa: PLC0415

    def scan() -> None:
        with tempfile.TemporaryDirectory() as place, default_settings():
            path = Path(place) / "content.txt"
            for text in texts:
                path.write_bytes(text)
                secrets = SecretsCollection()
                secrets.scan_file(str(path))

    return scan
