"""The step that collects: what it keeps of hostile sources, what it says of the rest, and that it is repeatable."""

import hashlib
import io
import json
import os
import subprocess
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from components.config import load_config
from components.errors import EmptyArtifactError, SourceError
from components.sources.config import IngestSourcesConfig
from components.sources.ingest_sources import readable_text, resolve_sources, run
from components.sources.source_files import Refusal
from components.tables import read_dropped, read_files

ROOT = Path(__file__).parents[3]
GIT_IDENTITY = ["-c", "user.name=A", "-c", "user.email=a@example.org"]


def source(kind, path, **more):
    declared = {
        "name": f"{kind}-{Path(path).name.lower()}",
        "kind": kind,
        "path": str(path),
        "repository": "owner/project",
        "license": "MIT",
        "exclude": [],
    }
    return declared | ({"revision": "HEAD", "history": False} if kind == "git" else {}) | more


def config(*sources, max_file_bytes=1000, shard_bytes=4096):
    return IngestSourcesConfig.model_validate(
        {"recipe": 1, "sources": sources, "max_file_bytes": max_file_bytes, "shard_bytes": shard_bytes}
    )


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def opt_outs_of(place, repositories=(), users=()):
    """An artifact opt_outs at `place`."""
    place.mkdir(exist_ok=True)
    listed = {"repositories": list(repositories), "users": list(users)}
    (place / "opt_outs.json").write_text(json.dumps(listed))
    return place


def ingest(tmp_path, parameters, name="out", users=()):
    """The summary, the kept rows and the dropped rows."""
    out = tmp_path / name
    out.mkdir()
    opt_outs = opt_outs_of(tmp_path / f"{name} opt-outs", users=users)
    summary = run(parameters, opt_outs=opt_outs, workspace=tmp_path, out=out)
    kept = [row for batch in read_files(out) for row in batch.to_pylist()]
    return summary, kept, [row for batch in read_dropped(out) for row in batch.to_pylist()]


def commit_all(root, files):
    subprocess.run(["git", "init", "--quiet", root], check=True)
    write(root, files)
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)
    subprocess.run(["git", *GIT_IDENTITY, "-C", root, "commit", "--quiet", "--message", "first"], check=True)
    told = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], check=True, capture_output=True)
    return told.stdout.decode().strip()


def test_a_row_says_what_the_file_is_and_where_it_comes_from(tmp_path):
    write(tmp_path / "tree", {"src/Main.PY": b"# SPDX-License-Identifier: 0BSD\nprint('\xc3\xa9')\n"})
    _, [row], _ = ingest(tmp_path, config(source("directory", "tree")))

    content = "# SPDX-License-Identifier: 0BSD\nprint('\u00e9')\n"
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert row == {
        "file_id": hashlib.sha256(f"owner/project\0src/Main.PY\0\0{digest}".encode()).hexdigest()[:32],
        "kind": "file",
        "content": content,
        "content_sha256": digest,
        "size_bytes": len(content.encode()),
        "source": "directory-tree",
        "repository": "owner/project",
        "path": "src/Main.PY",
        "commit": None,
        "license": "0BSD",
        "language": "python",
        "extension": ".py",
        "stars": None,
        "forks": None,
        "updated_at": None,
        "split": None,
    }


def test_each_hostile_file_is_dropped_with_its_rule_and_counted(tmp_path):
    tree = write(
        tmp_path / "tree",
        {
            "good.py": b"x = 1\n",
            "marked.py": b"\xef\xbb\xbfx = 1\n",
            "binary.py": b"\0ELF",
            "wide.py": "x = 1\n".encode("utf-16"),
            "latin.py": b"# \xe9t\xe9\n",
            "surrogate.py": b"\xed\xa0\x80",
            "empty.py": b"",
            "mark-only.py": b"\xef\xbb\xbf",
            "large.py": b"x" * 1001,
            "new\nline.py": b"x = 1\n",
            "\u202eyp.py": b"x = 1\n",
        },
    )
    (tree / "loop").symlink_to(".")
    os.mkfifo(tree / "pipe")
    summary, kept, dropped = ingest(tmp_path, config(source("directory", "tree")))

    assert {row["path"]: row["content"] for row in kept} == {"good.py": "x = 1\n", "marked.py": "x = 1\n"}
    assert {row["path"]: (row["rule"], row["value"], row["threshold"]) for row in dropped} == {
        "binary.py": ("binary", "NUL at byte 0", "no NUL byte"),
        "wide.py": ("binary", "NUL at byte 3", "no NUL byte"),
        "latin.py": ("not_utf8", "byte 0xe9 at 2", "UTF-8"),
        "surrogate.py": ("not_utf8", "byte 0xed at 0", "UTF-8"),
        "empty.py": ("empty", "0", "1"),
        "mark-only.py": ("empty", "0", "1"),
        "large.py": ("max_file_bytes", "1001", "1000"),
        "new\nline.py": ("path_characters", "U+000A at 3", "no control character"),
        "\u202eyp.py": ("path_characters", "U+202E at 0", "no control character"),
        "loop": ("symlink", "symbolic link", "regular file"),
        "pipe": ("not_regular_file", "named pipe", "regular file"),
    }
    assert {row["path"]: row["size_bytes"] for row in dropped}["large.py"] == 1001
    assert summary.files.kept_files == 2
    assert summary.files.dropped_files == 11
    assert summary.files.dropped_by_rule["not_utf8"] == 2


def test_the_same_content_from_directory_git_zip_and_tar_gives_the_same_text(tmp_path):
    files = {"a.py": b"x = 1\n", "b/c.md": b"# c\n"}
    write(tmp_path / "tree", files)
    commit = commit_all(tmp_path / "git", files)
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with tarfile.open(tmp_path / "pack.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    kinds = {"directory": "tree", "git": "git", "archive": "pack.zip"}
    sources = [source(kind, path, repository=f"owner/{kind}") for kind, path in kinds.items()]
    sources.append(source("archive", "pack.tar.gz", repository="owner/tar"))
    summary, kept, dropped = ingest(tmp_path, config(*sources))

    assert dropped == []
    assert [(row["source"], row["path"], row["content"].encode()) for row in kept] == [
        (told["name"], name, content) for told in sources for name, content in files.items()
    ]
    assert {row["commit"] for row in kept} == {None, commit}
    assert len({row["file_id"] for row in kept}) == len(kept)
    assert [told.files.kept_files for told in summary.sources] == [2, 2, 2, 2]


def test_the_history_of_a_repository_keeps_every_version(tmp_path):
    first = commit_all(tmp_path / "git", {"a.py": b"1\n"})
    second = commit_all(tmp_path / "git", {"a.py": b"2\n"})
    _, kept, _ = ingest(tmp_path, config(source("git", "git", history=True)))

    assert [(row["content"], row["commit"]) for row in kept] == [("1\n", first), ("2\n", second)]


def test_licences_come_from_the_header_then_the_nearest_file_then_the_declaration(tmp_path):
    apache = b"Apache License\nVersion 2.0, January 2004\n"
    write(
        tmp_path / "tree",
        {
            "a.py": b"x\n",
            "vendor/LICENSE": apache,
            "vendor/b.py": b"x\n",
            "vendor/c.py": b"# SPDX-License-Identifier: ISC\n",
        },
    )
    summary, kept, _ = ingest(tmp_path, config(source("directory", "tree")))

    assert {row["path"]: row["license"] for row in kept} == {
        "a.py": "MIT",
        "vendor/LICENSE": "Apache-2.0",
        "vendor/b.py": "Apache-2.0",
        "vendor/c.py": "ISC",
    }
    assert summary.licenses == {"Apache-2.0": 2, "ISC": 1, "MIT": 1}


def test_a_file_that_two_sources_hold_is_kept_once(tmp_path):
    write(tmp_path / "tree", {"a.py": b"x\n", "b.py": b"x\n"})
    again = source("directory", "tree", name="again", exclude=["b.py"])
    _, kept, dropped = ingest(tmp_path, config(source("directory", "tree"), again))

    assert [row["path"] for row in kept] == ["a.py", "b.py"]
    assert [(row["source"], row["rule"], row["detail"]) for row in dropped] == [
        ("again", "duplicate_file", f"kept as {kept[0]['file_id']}")
    ]


def test_twice_gives_the_same_bytes_and_place_and_time_do_not_matter(tmp_path):
    files = {f"{number % 7}/{number}.py": f"x = {number}\n".encode() * 30 for number in range(150)}
    places = [tmp_path / "here", tmp_path / "far" / "away"]
    for place, names in zip(places, (files, dict(reversed(files.items()))), strict=True):
        write(place / "tree", names)
        os.utime(place / "tree" / "0" / "0.py", (1, 1))
        (place / "out").mkdir()
        opt_outs = opt_outs_of(tmp_path / "opt-outs")
        run(config(source("directory", "tree")), opt_outs=opt_outs, workspace=place, out=place / "out")
    first, second = ({path.name: path.read_bytes() for path in (place / "out").iterdir()} for place in places)

    assert first == second
    assert len(first) > 3


def test_the_digests_name_commit_content_and_archive_file(tmp_path):
    write(tmp_path / "tree", {"a.py": b"x\n", "large.bin": b"x" * 2000})
    commit = commit_all(tmp_path / "git", {"a.py": b"x\n"})
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("a.py", b"x\n")
    parameters = config(source("directory", "tree"), source("git", "git"), source("archive", "pack.zip"))
    digests = resolve_sources(parameters, tmp_path)
    summary, _, _ = ingest(tmp_path, parameters)

    assert digests["git-git"] == commit
    assert digests["archive-pack.zip"] == hashlib.sha256((tmp_path / "pack.zip").read_bytes()).hexdigest()
    assert digests["directory-tree"] == summary.sources[0].content_digest
    (tmp_path / "tree").rename(tmp_path / "renamed")
    renamed = config(source("directory", "renamed", name="directory-tree"))
    assert resolve_sources(renamed, tmp_path) == {"directory-tree": digests["directory-tree"]}


def test_the_library_of_the_running_python_is_a_source(tmp_path):
    stdlib = source("directory", "{python_stdlib}/json", name="stdlib")
    _, kept, _ = ingest(tmp_path, config(stdlib, max_file_bytes=10**6))

    decoder = Path(sysconfig.get_path("stdlib"), "json", "decoder.py").read_text()
    assert decoder in [row["content"] for row in kept]


def test_the_small_run_excludes_what_is_installed_and_compiled(tmp_path):
    section = load_config(ROOT / "params.yaml").ingest_sources
    [declared] = [source for source in section.sources if source.kind == "directory"]
    write(
        tmp_path / "tree",
        {
            "os.py": b"x\n",
            "site-packages/a.py": b"x\n",
            "test/site-packages/a.py": b"x\n",
            "a/__pycache__/b.pyc": b"x\n",
            "config-3.11-x86_64-linux-gnu/Makefile": b"x\n",
            "lib-dynload/x.so": b"x\n",
        },
    )
    _, kept, dropped = ingest(tmp_path, config(declared.model_dump() | {"path": "tree"}))

    assert ([row["path"] for row in kept], dropped) == (["os.py"], [])


@pytest.mark.parametrize(
    ("kind", "told"),
    [("directory", "there is no directory"), ("git", "there is no directory"), ("archive", "there is no archive")],
)
def test_a_source_that_does_not_exist_is_named_by_both_doors(tmp_path, kind, told):
    parameters = config(source(kind, "missing"))

    for call in (lambda: resolve_sources(parameters, tmp_path), lambda: ingest(tmp_path, parameters)):
        with pytest.raises(SourceError, match=f"source '{kind}-missing': {told} .*/missing; correct its path"):
            call()


@pytest.mark.parametrize("kind", ["directory", "git", "archive"])
def test_a_source_that_is_a_link_to_itself_is_an_error_of_one_sentence(tmp_path, kind):
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SourceError, match=f"source '{kind}-loop'"):
        resolve_sources(config(source(kind, "loop")), tmp_path)


def test_an_empty_corpus_names_the_sources_and_what_was_dropped(tmp_path):
    write(tmp_path / "nothing", {})
    (tmp_path / "nothing").mkdir()
    write(tmp_path / "useless", {"a.bin": b"\0", "b.bin": b"\0", "c.py": b""})

    with pytest.raises(
        EmptyArtifactError,
        match=r"kept no file of directory-nothing \(dropped: nothing\); "
        r"directory-useless \(dropped: binary 2, empty 1\); correct",
    ):
        ingest(tmp_path, config(source("directory", "nothing"), source("directory", "useless")))


@pytest.mark.parametrize("rare", ["\u00e9", "\u4e2d", "\U0001f600"])
@pytest.mark.parametrize("before", [2**20 - 1, 2**20 - 2, 2**20 - 3, 2**20])
def test_characters_on_the_border_of_two_pieces_are_read(rare, before):
    text = b"x" * before + rare.encode() + b"tail"
    assert readable_text(text) == text

    broken = b"x" * before + rare.encode()[:-1] + b"tail"
    refusal = readable_text(broken)
    assert isinstance(refusal, Refusal)
    assert refusal.value == f"byte {rare.encode()[0]:#04x} at {before}"


def test_a_text_that_ends_within_a_character_is_refused():
    refusal = readable_text(b"x" * 2**20 + b"\xe4\xb8")
    assert isinstance(refusal, Refusal)
    assert (refusal.rule, refusal.value) == ("not_utf8", f"byte 0xe4 at {2**20}")


def test_rows_are_valid_arrow(tmp_path):
    write(tmp_path / "tree", {"a.py": "h\u00e9\U0001f600\n".encode()})
    ingest(tmp_path, config(source("directory", "tree")))

    for batch in read_files(tmp_path / "out"):
        pa.Table.from_batches([batch]).validate(full=True)


def test_a_source_of_an_opted_out_owner_gives_nothing_and_says_why(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, {"x.py": b"x = 1\n"})
    sources = [source("directory", "a"), source("directory", "b", repository="Gone/tools")]
    _, kept, dropped = ingest(tmp_path, config(*sources), users=["gone"])
    assert [row["repository"] for row in kept] == ["owner/project"]
    assert [(row["rule"], row["value"]) for row in dropped] == [("opted_out_repository", "Gone/tools")]
