"""What stands before and between texts: prefixes, marks, names; every draw by seed and file alone."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from components.errors import ParamsError
from components.markup import mark, plain
from components.sources.language_table import LANGUAGES
from components.tokens.config import PrefixProbabilities, TokenizeCorpusConfig
from components.tokens.documents import REPOSITORY, Document, Row, metadata_prefix, row_document, star_bucket
from components.tokens.encoders import as_text
from model.config import SourceName
from model.special_tokens import FAMILIES, STARCODER, STARCODER2, names_of

V1, V2 = names_of(STARCODER), names_of(STARCODER2)
ROW = Row("0" * 32, "file", "a/b", "c.py", "python", 12, "train", 6, as_text("x = 1\n"))
ALWAYS = PrefixProbabilities(repository=1.0, path=1.0, stars=1.0)


def config(probability: float = 1.0, named: float = 1.0) -> TokenizeCorpusConfig:
    return TokenizeCorpusConfig.model_validate(
        {
            "recipe": 4,
            "shard_tokens": 1024,
            "layout": "files",
            "prefix_probabilities": {"repository": probability, "path": probability, "stars": probability},
            "repository_documents": {"order": "random", "named_probability": named, "max_document_bytes": 1024},
            "encoder_check_bytes": 0,
            "seed": 5,
        }
    )


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({}, "python"),
        ({"language": "c-sharp"}, "c-sharp"),
        ({"language": None}, "unknown"),
        ({"kind": "notebook_script"}, "notebook_script"),
        ({"kind": "notebook", "content": as_text(mark("jupyter_start"))}, "notebook"),
        ({"kind": "issue", "language": "markdown", "content": as_text(mark("issue_start"))}, "issue"),
        ({"kind": "commit", "language": "c", "content": as_text(mark("commit_before"))}, "commit"),
    ],
)
def test_the_source_of_a_file_is_its_language_and_of_other_texts_their_kind(
    changes: dict[str, Any], source: str
) -> None:
    row = replace(ROW, **changes)
    families = [V1] if row.kind == "commit" else [V1, V2]
    assert [row_document(row, config(), ids).source for ids in families] == [source] * len(families)


def test_no_language_has_the_name_of_another_source() -> None:
    names = {language.name for language in LANGUAGES}
    others = {"notebook_script", "notebook", "issue", "commit", "unknown", REPOSITORY}
    assert names & others == set()
    for name in names | others:
        TypeAdapter(SourceName).validate_python(name)


def told(document: Document, ids: dict[str, int]) -> str:
    names = {number: f"<{name}>" for name, number in ids.items()}
    return "".join(
        names[part] if isinstance(part, int) else part if isinstance(part, str) else bytes(part).decode()
        for part in document.parts
    )


def test_a_starcoder_file_begins_with_repository_path_and_stars() -> None:
    assert told(row_document(ROW, config(), V1), V1) == "<reponame>a/b<filename>c.py<gh_stars>10-100\nx = 1\n"
    assert told(row_document(ROW, config(0.0), V1), V1) == "x = 1\n"


def test_a_starcoder2_file_is_a_repository_of_one_file() -> None:
    assert told(row_document(ROW, config(named=1.0), V2), V2) == "<repo_name>a/b<file_sep>c.py\nx = 1\n"
    assert told(row_document(ROW, config(named=0.0), V2), V2) == "<file_sep>x = 1\n"


def test_a_notebook_as_script_is_a_file_to_starcoder_and_has_its_own_token_in_starcoder2() -> None:
    script = replace(ROW, kind="notebook_script")
    assert told(row_document(script, config(), V1), V1).startswith("<reponame>a/b")
    assert told(row_document(script, config(), V2), V2) == "<jupyter_script>x = 1\n"


@pytest.mark.parametrize(
    ("stars", "bucket"),
    [
        *((None, "0"), (0, "0"), (1, "1-10"), (10, "1-10"), (11, "10-100"), (100, "10-100")),
        *((101, "100-1000"), (1000, "100-1000"), (1001, "1000+"), (10**9, "1000+")),
    ],
)
def test_upper_bounds_of_stars_are_inclusive_and_none_known_is_none(stars: int | None, bucket: str) -> None:
    assert star_bucket(stars) == bucket


def test_each_part_of_a_prefix_is_drawn_by_itself_from_seed_and_file() -> None:
    chances = PrefixProbabilities(repository=0.2, path=0.5, stars=0.7)
    rows = [replace(ROW, file_id=f"{number:032x}") for number in range(3000)]
    prefixes = [metadata_prefix(row, chances, 1, V1) for row in rows]
    assert prefixes == [metadata_prefix(row, chances, 1, V1) for row in reversed(rows)][::-1]
    assert prefixes != [metadata_prefix(row, chances, 2, V1) for row in rows]
    drawn = [{part for part in prefix if isinstance(part, int)} for prefix in prefixes]
    for name, chance in (("reponame", 0.2), ("filename", 0.5), ("gh_stars", 0.7)):
        assert sum(V1[name] in ids for ids in drawn) / 3000 == pytest.approx(chance, abs=0.035)
    both = sum({V1["reponame"], V1["filename"]} <= ids for ids in drawn) / 3000
    assert both == pytest.approx(0.1, abs=0.02)
    assert all(prefix == [] or prefix[-1] == "\n" for prefix in prefixes)


@pytest.mark.parametrize("ids", [V1, V2], ids=FAMILIES)
def test_marks_of_a_structured_document_become_the_tokens_of_either_family(ids: dict[str, int]) -> None:
    content = f"{mark('issue_start')}Title: <issue_start>{mark('issue_comment')}username_0: hi{mark('issue_closed')}"
    issue = replace(ROW, kind="issue", content=as_text(content))
    document = row_document(issue, config(), ids)
    assert [part for part in document.parts if isinstance(part, int)] == [
        ids["issue_start"],
        ids["issue_comment"],
        ids["issue_closed"],
    ]
    assert told(document, ids) == "<issue_start>Title: <issue_start><issue_comment>username_0: hi<issue_closed>"


def test_a_mark_that_the_family_lacks_is_named_with_the_mend() -> None:
    commit = replace(ROW, kind="commit", content=as_text(f"{mark('commit_before')}a{mark('commit_msg')}b"))
    row_document(commit, config(), V1)
    with pytest.raises(ParamsError, match=r"commit a/b 'c.py' is laid out with <commit_before>.*other family"):
        row_document(commit, config(), V2)


@given(st.lists(st.one_of(st.text(), st.sampled_from(["\ufdd0issue_start\ufdd1", "<|endoftext|>", "\ufdd0"]))))
def test_a_plain_file_cannot_forge_a_mark(pieces: list[str]) -> None:
    text = "".join(pieces).encode("utf-8", "replace").decode()
    for kind in ("file", "notebook_script"):
        row = replace(ROW, kind=kind, content=as_text(text))
        assert row_document(row, config(0.0), V1).parts == [row.content]
    issue = replace(ROW, kind="issue", content=as_text(plain(text)))
    assert not any(isinstance(part, int) for part in row_document(issue, config(), V1).parts)


def test_the_share_of_named_files_is_the_one_asked_for() -> None:
    rows = [replace(ROW, file_id=f"{number:032x}") for number in range(2000)]
    documents = [row_document(row, config(named=0.5), V2) for row in rows]
    named = [V2["repo_name"] in _ids(document.parts) for document in documents]
    assert sum(named) / 2000 == pytest.approx(0.5, abs=0.045)


def _ids(parts: Any) -> list[int]:
    return [part for part in parts if isinstance(part, int)]
