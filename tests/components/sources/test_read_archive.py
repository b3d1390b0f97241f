"""Archives as sources: members are data, and neither a name nor a size nor a broken byte can do harm."""

import bz2
import gzip
import hashlib
import io
import lzma
import stat
import tarfile
import zipfile

import pytest

from components.errors import SourceError
from components.sources import read_archive
from components.sources.read_archive import digest_archive, open_archive
from components.sources.source_files import Refusal, outcome_of, path_filter

LIMIT = 10_000
COMPRESSIONS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def tar_bytes(*members):
    """A tar of (name or TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info = member(info) if isinstance(info, str) else info
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(*members, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return buffer.getvalue()


def read(path, *exclude):
    """(path, outcome) of each entry, refusals by their rule."""
    with open_archive("made-up", path, path_filter(exclude)) as entries:
        told = [(entry.path, outcome_of(entry, LIMIT)) for entry in entries]
    return [(path, outcome.rule if isinstance(outcome, Refusal) else outcome) for path, outcome in told]


def read_bytes(tmp_path, data, *exclude):
    (tmp_path / "archive").write_bytes(data)
    return read(tmp_path / "archive", *exclude)


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=["plain", "gz", "bz2", "xz"])
def test_a_tar_is_read_in_its_order_whatever_its_compression(tmp_path, compression):
    files = [("top/b.py", b"2\n"), ("top/a.py", b"1\n" * 600), ("top/deep/\u00e9.py", b"3\n"), ("top/empty", b"")]
    data = compression(tar_bytes((member("top", tarfile.DIRTYPE), b""), *files))

    assert read_bytes(tmp_path, data) == files


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_is_read_in_its_order_whatever_its_compression(tmp_path, compression):
    files = [("top/b.py", b"2\n"), ("top/a.py", b"1\n" * 600), ("top/\u00e9.py", b"3\n"), ("top/empty", b"")]

    assert read_bytes(tmp_path, zip_bytes(("top/", b""), *files, compression=compression)) == files


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_names_never_leave_the_archive(tmp_path, pack):
    names = ["/etc/a.py", "./b.py", "c//d.py", "../e.py", "f/../../g.py", "h/..", "..i.py", "new\nline.py"]
    told = read_bytes(tmp_path, pack(*((name, b"x") for name in names)))

    assert told == [
        ("etc/a.py", b"x"),
        ("b.py", b"x"),
        ("c/d.py", b"x"),
        ("../e.py", "unsafe_path"),
        ("f/../../g.py", "unsafe_path"),
        ("h/..", "unsafe_path"),
        ("..i.py", b"x"),
        ("new\nline.py", b"x"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_member_of_a_name_counts(tmp_path, pack):
    told = read_bytes(tmp_path, pack(("a.py", b"1"), ("b.py", b"2"), ("./a.py", b"3")))

    assert told == [("a.py", "replaced_member"), ("b.py", b"2"), ("a.py", b"3")]


def test_links_devices_and_pipes_of_a_tar_are_refused(tmp_path):
    told = read_bytes(
        tmp_path,
        tar_bytes(
            ("a.py", b"x"),
            (member("link", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (member("hard", tarfile.LNKTYPE, "a.py"), b""),
            (member("pipe", tarfile.FIFOTYPE), b""),
            (member("null", tarfile.CHRTYPE), b""),
            (member("disk", tarfile.BLKTYPE), b""),
        ),
    )

    assert told == [
        ("a.py", b"x"),
        ("link", "symlink"),
        ("hard", "not_regular_file"),
        ("pipe", "not_regular_file"),
        ("null", "not_regular_file"),
        ("disk", "not_regular_file"),
    ]


def zip_member(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_links_and_pipes_of_a_zip_are_refused(tmp_path):
    told = read_bytes(
        tmp_path,
        zip_bytes(
            (zip_member("link", stat.S_IFLNK | 0o777), b"/etc/passwd"),
            (zip_member("pipe", stat.S_IFIFO | 0o644), b""),
            (zip_member("file", stat.S_IFREG | 0o644), b"x"),
        ),
    )

    assert told == [("link", "symlink"), ("pipe", "not_regular_file"), ("file", b"x")]


def test_an_encrypted_member_is_refused_and_the_others_are_read(tmp_path):
    data = bytearray(zip_bytes(("a.py", b"secret"), ("b.py", b"plain")))
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1

    assert read_bytes(tmp_path, bytes(data)) == [("a.py", "encrypted"), ("b.py", b"plain")]


@pytest.mark.parametrize("data", [zip_bytes, lambda *members: gzip.compress(tar_bytes(*members))], ids=["zip", "tar"])
def test_a_member_above_the_limit_is_refused_unread(tmp_path, data):
    told = read_bytes(tmp_path, data(("bomb", b"\0" * 5_000_000), ("a.py", b"x")))

    assert told == [("bomb", "max_file_bytes"), ("a.py", b"x")]


def test_a_member_that_holds_more_than_it_says_is_not_read_further(tmp_path):
    data = bytearray(zip_bytes(("liar", b"\0" * 5_000_000), ("a.py", b"x")))
    for header, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(header) + offset
        data[place : place + 4] = (9).to_bytes(4, "little")

    assert read_bytes(tmp_path, bytes(data)) == [("liar", "unreadable"), ("a.py", b"x")]


def test_a_damaged_member_of_a_zip_is_refused_and_the_others_are_read(tmp_path):
    data = bytearray(zip_bytes(("a.py", b"here it is"), ("b.py", b"plain"), compression=zipfile.ZIP_STORED))
    data[data.index(b"here")] ^= 1

    assert read_bytes(tmp_path, bytes(data)) == [("a.py", "unreadable"), ("b.py", b"plain")]


def overlapping_zip(name_count, content):
    """A zip whose entries all point at the same content."""
    one = zip_bytes(("a000.py", content))
    directory = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = one[directory:end]
    entries = [entry.replace(b"a000", f"a{number:03}".encode()) for number in range(name_count)]
    tail = bytearray(one[end:])
    tail[8:10] = tail[10:12] = name_count.to_bytes(2, "little")
    tail[12:16] = sum(map(len, entries)).to_bytes(4, "little")
    return one[:directory] + b"".join(entries) + bytes(tail)


def test_entries_that_share_one_content_do_not_multiply_it(tmp_path):
    told = read_bytes(tmp_path, overlapping_zip(40, b"\0" * 9_000))

    assert len(told) == 40
    assert sum(outcome != "unreadable" for _, outcome in told) <= 1


@pytest.mark.parametrize("compression", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_an_archive_that_gives_too_much_stops_the_reading(tmp_path, monkeypatch, compression):
    monkeypatch.setattr(read_archive, "FREE_EXPANSION_BYTES", 1 << 20)

    with pytest.raises(SourceError, match=r"gives more than \d+ bytes.*unpack it by hand"):
        read_bytes(tmp_path, compression(tar_bytes(("bomb", b"\0" * 8_000_000))))


def test_a_zip_that_gives_too_much_stops_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(read_archive, "FREE_EXPANSION_BYTES", 1 << 16)
    monkeypatch.setattr(read_archive, "MAX_EXPANSION", 2)

    with pytest.raises(SourceError, match="gives more than"):
        read_bytes(tmp_path, zip_bytes(*((f"{number}.py", b"\0" * 9_000) for number in range(40))))


def test_a_tar_header_that_claims_gigabytes_of_name_is_not_believed(tmp_path):
    data = bytearray(tar_bytes((member("n" * 300), b"x")))
    assert data[156:157] == tarfile.XHDTYPE
    header = tarfile.TarInfo.frombuf(bytes(data[:512]), "utf-8", "strict")
    header.size = 2**40
    data[:512] = header.tobuf(tarfile.GNU_FORMAT)[:512]

    with pytest.raises(SourceError, match="not a whole zip or tar archive"):
        read_bytes(tmp_path, bytes(data))


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_truncated_tar_is_an_error_and_not_a_shorter_one(tmp_path, suffix):
    whole = COMPRESSIONS[suffix](tar_bytes(*((f"{number}.py", bytes(range(256)) * 4) for number in range(9))))

    with pytest.raises(SourceError, match="not a whole zip or tar archive"):
        read_bytes(tmp_path, whole[: len(whole) * 2 // 3])


def test_a_tar_with_a_damaged_header_in_the_middle_is_an_error(tmp_path):
    data = bytearray(tar_bytes(("a.py", b"x"), ("b.py", b"y"), ("c.py", b"z")))
    data[1024 + 10] ^= 1

    with pytest.raises(SourceError, match="a member's header is damaged"):
        read_bytes(tmp_path, bytes(data))


@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x03\x04 or so", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh9"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, data):
    with pytest.raises(SourceError, match=r"'made-up': .*archive is not a whole zip or tar archive .*fetch it anew"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("pack", [zip_bytes, tar_bytes, lambda *members: gzip.compress(tar_bytes(*members), mtime=0)])
def test_no_flipped_byte_raises_anything_but_a_source_error(tmp_path, pack):
    whole = pack(("a.py", b"print(1)\n"), ("deep/b.py", b"print(2)\n"))
    survived = 0
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        data = bytearray(whole)
        data[place] ^= 0x21
        try:
            read_bytes(tmp_path, bytes(data))
            survived += 1
        except SourceError:
            continue
    assert survived > 0


def test_excluded_members_are_left_out(tmp_path):
    data = zip_bytes(("top/a.py", b"1"), ("top/.git/config", b"2"), ("top/skip/b.py", b"3"))

    assert read_bytes(tmp_path, data, "skip/") == [("top/a.py", b"1")]


def test_an_empty_archive_has_no_entries(tmp_path):
    assert read_bytes(tmp_path, zip_bytes()) == []
    assert read_bytes(tmp_path, tar_bytes()) == []


@pytest.mark.parametrize(("name", "told"), [("missing", "there is no archive"), ("", "cannot be opened as an archive")])
def test_a_path_without_an_archive_is_named(tmp_path, name, told):
    with pytest.raises(SourceError, match=f"'made-up': .*{told}"):
        read(tmp_path / name)
    with pytest.raises(SourceError, match=told):
        digest_archive("made-up", tmp_path / name)


def test_the_digest_is_that_of_the_file(tmp_path):
    (tmp_path / "archive").write_bytes(b"any bytes")

    assert digest_archive("made-up", tmp_path / "archive") == hashlib.sha256(b"any bytes").hexdigest()
