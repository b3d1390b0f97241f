"""The step: two rows from a notebook or the reasons why not, and nothing of files that are none."""

import ast
import hashlib
import pickle
from collections import Counter
from functools import partial

import pytest

from components.errors import ParamsError
from components.markup import visible
from components.notebooks.config import ConvertNotebooksConfig
from components.notebooks.convert_notebooks import convert_batch, convert_notebook, derived_id, run
from components.sources.source_files import Refusal
from components.tables import read_dropped, read_files

CODE = "import math\nradius = 2.5\nprint(math.pi * radius ** 2)\n"


def row(name, data, **more):
    content = data.decode() if isinstance(data, bytes) else data
    return {"path": f"docs/{name}", "content": content, "language": "jupyter-notebook", "extension": ".ipynb"} | more


@pytest.fixture
def converted(table_of, tmp_path, config):
    """Call it with rows: the summary, the kept rows and the dropped rows."""

    def call(rows, parameters=None, shard_bytes=1 << 20):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        (place / "out").mkdir(parents=True)
        (place / "work").mkdir()
        table = table_of(rows, shard_bytes)
        summary = run(parameters or config(), raw_files=table, out=place / "out", work_dir=place / "work")
        kept = [each for batch in read_files(place / "out") for each in batch.to_pylist()]
        return summary, kept, [each for batch in read_dropped(place / "out") for each in batch.to_pylist()]

    return call


def test_the_shipped_notebooks_give_scripts_and_documents(converted, samples):
    summary, kept, dropped = converted([row(name, data) for name, data in samples.items()])
    scripts = {each["path"]: each for each in kept if each["kind"] == "notebook_script"}
    documents = {each["path"]: each for each in kept if each["kind"] == "notebook"}
    assert sorted(scripts) == [f"docs/{name}" for name in samples]
    languages = Counter((each["language"], each["extension"]) for each in scripts.values())
    assert languages == {("python", ".py"): 7, ("r", ".r"): 1, ("julia", ".jl"): 1}
    # Without metadata the script's language is guessed and the document's is not; R and Julia are not asked for.
    assert {each["path"] for each in dropped} == {
        *("docs/binary_search.ipynb", "docs/newton_in_julia.ipynb", "docs/seedlings_in_r.ipynb")
    }
    assert {(each["rule"], each["value"], each["threshold"], each["detail"]) for each in dropped} == {
        ("document_language", value, "python", "notebook") for value in ("unknown", "julia", "r")
    }
    assert all(ast.parse(each["content"]) for each in scripts.values() if each["language"] == "python")
    for each in documents.values():
        assert each["extension"] == ".ipynb"
        assert visible(each["content"]).startswith("<jupyter_start><jupyter_text># ")
    assert summary.notebooks == 9
    assert summary.scripts_by_language == {"julia": 1, "python": 7, "r": 1}
    assert (summary.guessed_scripts, summary.documents, summary.files.dropped_files) == (1, 6, 3)
    assert (
        summary.triplets == sum(each["content"].count("\ufdd0jupyter_text\ufdd1") for each in documents.values()) > 15
    )
    assert (summary.replaced_chars, summary.skipped_cells) == (0, 0)


def test_a_row_is_its_notebooks_but_for_the_text(converted, samples):
    extra = {"commit": "a" * 40, "stars": 5, "forks": 2, "updated_at": 1_700_000_000, "license": "MIT", "source": "own"}
    notebook = row("x.ipynb", samples["prime_sieve.ipynb"], file_id="0" * 32, **extra)
    _, kept, _ = converted([notebook])
    assert [each["kind"] for each in kept] == ["notebook_script", "notebook"]
    for each in kept:
        content = each["content"].encode()
        assert each["file_id"] == derived_id("0" * 32, each["kind"])
        assert each["content_sha256"] == hashlib.sha256(content).hexdigest()
        assert each["size_bytes"] == len(content)
        assert {name: each[name] for name in extra} == extra
        assert (each["repository"], each["path"], each["split"]) == ("owner/project", "docs/x.ipynb", None)
    assert len({each["file_id"] for each in kept} | {"0" * 32}) == 3


def test_files_that_are_no_notebooks_are_neither_kept_nor_dropped(converted, samples):
    rows = [
        row("a.json", samples["prime_sieve.ipynb"], extension=".json"),
        row("b.ipynb", samples["prime_sieve.ipynb"]),
        {"content": "x = 1\n"},
    ]
    summary, kept, dropped = converted(rows)
    assert {each["path"] for each in [*kept, *dropped]} == {"docs/b.ipynb"}
    assert summary.notebooks == 1


def test_without_a_notebook_there_is_an_empty_table_and_no_error(converted):
    summary, kept, dropped = converted([{"content": "x = 1\n"}])
    assert (kept, dropped, summary.files.kept_files, summary.notebooks) == ([], [], 0, 0)


def test_the_rows_do_not_depend_on_the_batches_nor_on_the_process(table_of, config, samples):
    rows = [row(f"{number:02d}-{name}", data) for number in range(2) for name, data in samples.items()]
    (batch,) = read_files(table_of(rows))
    function = pickle.loads(pickle.dumps(partial(convert_batch, config=config())))  # noqa: S301 - its own bytes
    whole = function(batch)
    pieces = [function(batch.slice(start, 5)) for start in range(0, batch.num_rows, 5)]
    assert whole.kept.to_pylist() == [each for piece in pieces for each in piece.kept.to_pylist()]
    assert whole.dropped.to_pylist() == [each for piece in pieces for each in piece.dropped.to_pylist()]
    assert whole.counts == sum((piece.counts for piece in pieces), Counter())
    paths = whole.kept.column("path").to_pylist()
    assert paths == sorted(paths)


def bad_notebooks(written):
    return {
        "truncated.ipynb": (written(("code", CODE))[:-20], "not_json", ""),
        "version.ipynb": (written(("code", CODE), nbformat=99), "notebook_format", ""),
        "deep.ipynb": (b"[" * 10_000, "json_depth", ""),
        "wide.ipynb": (b"[" + b"[]," * 1_000_000 + b"[]]", "json_values", ""),
        "list.ipynb": (b"[]", "not_notebook", ""),
        "empty.ipynb": (written(), "code_chars", ""),
        "no_code.ipynb": (written(("markdown", "text" * 100)), "code_chars", ""),
        "little_code.ipynb": (written(("code", "x = 1\n")), "code_chars", ""),
        "long.ipynb": (written(("code", CODE), ("code", f"x = '{'a' * 2000}'")), "max_line_length", "notebook_script"),
        "wide_lines.ipynb": (written(("code", f"x = '{'a' * 300}'")), "mean_line_length", "notebook_script"),
        "symbols.ipynb": (written(("code", "(((((+++++)))))\n" * 9)), "alphanumeric_fraction", "notebook_script"),
        "no_text.ipynb": (written(("code", CODE)), "triplets", "notebook"),
        "ruby.ipynb": (
            written(("code", CODE), metadata={"language_info": {"name": "ruby"}}),
            "script_language",
            "notebook_script",
        ),
        "prose.ipynb": (
            written(("code", "it was a dark and stormy night, said the miller to his son\n" * 5), metadata={}),
            "guessed_language",
            "notebook_script",
        ),
    }


def test_every_refused_notebook_is_a_dropped_row_with_its_rule(converted, written):
    bad = bad_notebooks(written)
    summary, kept, dropped = converted([row(name, data) for name, (data, _, _) in bad.items()])
    reasons = {(each["path"].removeprefix("docs/"), each["rule"], each["detail"]) for each in dropped}
    assert {(name, rule, detail) for name, (_, rule, detail) in bad.items()} <= reasons
    # One row for a notebook of which nothing can be made, else one for each kind.
    told = Counter(each["path"] for each in [*kept, *dropped])
    for name, (_, _, detail) in bad.items():
        assert told[f"docs/{name}"] == (2 if detail else 1), name
    sizes = {f"docs/{name}": len(data) for name, (data, _, _) in bad.items()}
    assert all(each["size_bytes"] == sizes[each["path"]] for each in dropped)
    assert summary.notebooks == len(bad)
    assert summary.files.dropped_files == len(dropped)


@pytest.mark.parametrize(
    ("markdown", "changes", "told"),
    [
        ("t", {"min_code_chars": 54}, ("code_chars", "53", "54", "")),
        ("t", {"max_mean_line_length_chars": 5.5}, ("mean_line_length", "10.4286", "5.5", "notebook_script")),
        ("t" * 41, {"max_line_length_chars": 40}, ("max_line_length", "41", "40", "notebook_script")),
        # The comment mark counts.
        ("t" * 40, {"max_line_length_chars": 40}, ("max_line_length", "42", "40", "notebook_script")),
        ("t", {"document_languages": ["r", "julia"]}, ("document_language", "python", "r, julia", "notebook")),
    ],
)
def test_the_value_and_the_threshold_are_told(written, config, markdown, changes, told):
    outcomes = convert_notebook(written(("markdown", markdown), ("code", CODE)), config(**changes)).outcomes
    assert Refusal(*told) in outcomes


def test_a_guess_counts_from_its_probability_on(written, config):
    data = written(("code", CODE), metadata={})
    sure = convert_notebook(data, config(min_guess_probability=0.5)).outcomes[0]
    assert (sure.language, sure.extension) == ("python", ".py")
    unsure = convert_notebook(data, config(min_guess_probability=1.0)).outcomes[0]
    assert (unsure.rule, unsure.threshold) == ("guessed_language", "a script language with 1.0")
    assert unsure.value.startswith("python with 0.")


def test_what_could_not_be_text_is_counted(converted, written):
    cells = [("code", CODE), ("code", "s = '\x00 \ud800'"), ("dance", "x")]
    summary, kept, _ = converted([row("x.ipynb", written(*cells))])
    assert (summary.replaced_chars, summary.skipped_cells) == (2, 1)
    assert "s = '\ufffd \ufffd'" in kept[0]["content"]


@pytest.mark.parametrize("kind", ["notebook_script", "notebook"])
def test_only_the_kinds_that_are_asked_for_are_made(converted, samples, config, kind):
    _, kept, dropped = converted([row(n, d) for n, d in samples.items()], config(kinds=[kind]))
    assert {each["kind"] for each in kept} == {kind}
    assert {each["detail"] for each in dropped} <= {kind}


def test_starcoders_way_and_starcoder2s_differ_in_the_text_alone(samples, config):
    for data in samples.values():
        kept, stripped = (
            convert_notebook(data, config(kinds=["notebook"], markdown=markdown)).outcomes[0]
            for markdown in ("kept", "stripped")
        )
        if not isinstance(kept, Refusal):
            assert "\n##" not in stripped.content
            assert stripped.content.count("\ufdd0jupyter_text\ufdd1") == kept.content.count("\ufdd0jupyter_text\ufdd1")


def test_a_language_that_no_notebook_declares_is_told(converted, config):
    with pytest.raises(ParamsError, match="names 'snake', which no notebook is known to be in; write one of"):
        converted([{"content": "x"}], config(document_languages=["snake"]))


def test_a_name_given_twice_is_refused(config):
    parameters = config().model_dump()
    with pytest.raises(ValueError, match="a name is given twice in notebook, notebook; write each once"):
        ConvertNotebooksConfig.model_validate(parameters | {"kinds": ["notebook", "notebook"]})
