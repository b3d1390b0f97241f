"""Secrets and personal data with their spans, against detect-secrets and against BigCode's regexes.

    ours              seven kinds; checks what the patterns catch, replaces it, and scans again until nothing is left
    detect-secrets    as BigCode's pipeline asked it: a file in a temporary directory, its 18 plugins and filters; keys
                      alone, told by their lines
    BigCode's regexes e-mail, IPv4 and IPv6 addresses with their spans; the checks of what they catch are left out

The texts lie in memory for all. The patterns are written anew from the papers' and the pipeline's descriptions.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.comparison import Comparison, Work, against_peers, peer_module
from benchmarks.source_files import SourceFile, at_most, megabytes, source_files
from components.redaction.redact_secrets import Redactor

SAMPLE_BYTES = 40_000_000
DETECT_SECRETS_BYTES, REGEX_BYTES = 1_000_000, 4_000_000
ROWS_AT_ONCE = 2_000  # a row group
REPETITIONS = 3
ENTITIES = ("email", "ip_address", "key", "password", "name", "username", "id")
MIN_KEY_ENTROPY_BITS = 3.0

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"
_LEFT, _RIGHT = r"(?:^|[\b\s@?,!;:'\")(.])", r"(?:$|[\b\s@?,!;:'\")(.])"
_GROUP = r"[0-9a-fA-F]{1,4}"
PATTERNS = (
    # A mailbox between delimiters; four octets between delimiters; eight groups of hex digits, or a compressed form.
    re.compile(_LEFT + r"([^\s@,?!;:)(]+@[^\s@,?!;:)(]+\.[^\s@,?!;:)(.]{2,})" + _RIGHT),
    re.compile(_LEFT + rf"((?:{_OCTET}\.){{3}}{_OCTET})" + _RIGHT),
    re.compile(rf"((?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,7}}:|(?:{_GROUP}:){{1,6}}:{_GROUP})"),
)
PLUGINS = (
    *("ArtifactoryDetector", "AWSKeyDetector", "Base64HighEntropyString", "HexHighEntropyString"),
    *("AzureStorageKeyDetector", "CloudantDetector", "DiscordBotTokenDetector", "GitHubTokenDetector"),
    *("IbmCloudIamDetector", "IbmCosHmacDetector", "JwtTokenDetector", "MailchimpDetector", "NpmDetector"),
    *("SendGridDetector", "SlackDetector", "SoftlayerDetector", "StripeDetector", "TwilioKeyDetector"),
)
FILTERS = ("is_likely_id_string", "is_potential_uuid", "is_sequential_string", "is_templated_secret")


def compare() -> list[Comparison]:
    """A row for each peer."""
    files = source_files(SAMPLE_BYTES)
    few, some = at_most(DETECT_SECRETS_BYTES, files), at_most(REGEX_BYTES, files)
    peers = [
        Work("detect-secrets, as BigCode asks it", megabytes(few), detect_secrets_work(few)),
        Work("BigCode's regexes, re", megabytes(some), regex_work(some)),
    ]
    what = f"secrets and personal data, 7 kinds, {len(files):,} files"
    return against_peers(what, "MB/s", Work("ours", megabytes(files), our_work(files)), peers, REPETITIONS)


def our_work(files: Sequence[SourceFile]) -> Callable[[], int]:
    """The rules as the step applies them; gives how many spans were replaced."""
    redactor = Redactor(ENTITIES, MIN_KEY_ENTROPY_BITS)
    contents = [file.content for file in files]

    def run() -> int:
        replaced = 0
        for first in range(0, len(contents), ROWS_AT_ONCE):
            together = contents[first : first + ROWS_AT_ONCE]
            for row in redactor.suspects(together):
                replaced += len(redactor.redact(together[row])[1])
        return replaced

    return run


def regex_work(files: Sequence[SourceFile]) -> Callable[[], list[tuple[int, int]]]:
    """The spans that the patterns catch."""
    texts = [file.content.decode() for file in files]
    return lambda: [match.span(1) for text in texts for each in PATTERNS for match in each.finditer(text)]


def detect_secrets_work(files: Sequence[SourceFile]) -> Callable[[], int]:
    """How many secrets it finds."""
    detect_secrets, settings = peer_module("detect_secrets"), peer_module("detect_secrets.settings")
    asked = {
        "plugins_used": [{"name": name} for name in PLUGINS],
        "filters_used": [{"path": f"detect_secrets.filters.heuristic.{name}"} for name in FILTERS],
    }

    def run() -> int:
        found = 0
        with tempfile.TemporaryDirectory() as place, settings.transient_settings(asked):
            path = Path(place) / "content.txt"
            for file in files:
                path.write_bytes(file.content)
                secrets = detect_secrets.SecretsCollection()
                secrets.scan_file(str(path))
                found += len(secrets.json())
        return found

    return run
