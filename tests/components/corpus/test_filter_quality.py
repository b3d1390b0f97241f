"""The quality rules through the step: what each one sees, which one decides; a hostile file is only dropped."""

import json
import pickle
import subprocess
import sys
from functools import partial

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from components.corpus.filter_quality import filter_batch, resolve_sources, run
from components.corpus.inspection_table import Inspection, write_inspections
from components.corpus.language_selection import select_languages
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_presets import PRESETS
from components.corpus.quality_rules import RULES, QualityRules
from components.errors import EmptyArtifactError, ParamsError, SourceError
from components.tables import read_dropped, read_files

WHO = {
    "recipe": 1,
    "languages": {"select": "list", "names": ["python", "markdown", "json", "yaml", "html", "text", "xslt", "sas"]},
    "max_bytes_by_language": {},
    "keep_fraction_by_language": {},
    "seed": 0,
    "content_model": "none",
    "hidden_characters": "drop",
    "inspection_file": None,
}
LINES = {
    "extension_rules": "none",
    "max_line_length_chars": 40,
    "max_mean_line_length_chars": 20,
    "min_alphanumeric_fraction": 0.25,
    "xml_declaration_window_chars": 30,
    "long_lines_allowed": ["markdown"],
}


def config(preset="santacoder", **changes):
    return FilterQualityConfig.model_validate(WHO | PRESETS[preset] | changes)


def lines(**changes):
    return config(**(LINES | {"comments": None} | changes))


@pytest.fixture
def filtered(table_of, tmp_path):
    """Call it with rows and config: the summary, the kept rows and the dropped rows."""

    def call(rows, parameters, shard_bytes=1 << 20):
        place = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        for name in ("out", "work"):
            (place / name).mkdir(parents=True)
        table = table_of(rows, shard_bytes)
        summary = run(parameters, raw_files=table, workspace=tmp_path, out=place / "out", work_dir=place / "work")
        kept = [row for batch in read_files(place / "out") for row in batch.to_pylist()]
        return summary, kept, [row for batch in read_dropped(place / "out") for row in batch.to_pylist()]

    return call


@pytest.fixture
def verdict(filtered):
    """Call it with a row and config: the rule that drops it, with value, threshold and detail; None if it is kept."""

    def call(row, parameters):
        _, kept, dropped = filtered([GOOD, GOOD_2 | row], parameters)
        assert len(kept) + len(dropped) == 2
        return tuple(dropped[-1][name] for name in ("rule", "value", "threshold", "detail")) if dropped else None

    return call


GOOD = {"content": "x = 1  # set\n"}
GOOD_2 = {"path": "other.py", "content": "y = 2  # set\n"}
XML = '<?xml version="1.0"?>\n<a>text</a>\n'


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"content": "x" * 41 + "\n" + "y\n" * 9}, ("max_line_length", "41", "40")),
        ({"content": "\u4e2d" * 41 + "\n" + "y\n" * 9}, ("max_line_length", "41", "40")),
        ({"content": "x" * 30 + "\n" + "y" * 11}, ("mean_line_length", "20.5000", "20")),
        ({"content": "x---\n"}, ("alphanumeric_fraction", "0.2000", "0.25")),
        ({"content": XML}, ("xml_declaration", "<?xml version=", "not in the first 30 characters")),
        ({"content": "\u00e9\n" * 8 + "<?xml version="}, ("xml_declaration", "<?xml version=", None)),
        ({"content": "x\n", "language": "c"}, ("language", "c", "a language of filter_quality.languages")),
        ({"content": "x\n", "language": None}, ("language", "unknown", None)),
        ({"content": "{}", "extension": ".ipynb"}, ("notebook", ".ipynb", "another ending")),
    ],
)
def test_each_basic_rule_drops_with_what_it_saw_and_what_it_allows(verdict, row, reason):
    rule, value, threshold, _ = verdict(row, lines())

    assert (rule, value) == reason[:2]
    assert reason[2] in (None, threshold)


@pytest.mark.parametrize(
    "row",
    [
        {"content": "x" * 40 + "\n\n\n"},
        {"content": "\U0001f600" * 20 + "x" * 20 + "\n\n\n"},
        {"content": "x" * 20},
        {"content": "x---"},
        {"content": "y\n" * 8 + "y<?xml version="},
        {"content": "word " * 500, "language": "markdown"},
    ],
)
def test_at_its_limit_a_file_is_kept(verdict, row):
    assert verdict(row, lines()) is None


def test_a_notebook_is_told_who_reads_it(verdict):
    assert verdict({"extension": ".ipynb", "content": "-"}, lines())[3] == "read by convert_notebooks"


def test_the_first_failing_rule_of_the_table_decides(filtered):
    bad = "<?xml version=" + "-" * 100
    _, _, dropped = filtered(
        [
            GOOD,
            {"content": bad, "language": "c"},
            {"content": bad},
            {"content": bad[:38]},
            {"content": bad, "language": "markdown"},
            {"content": "<?xml version=1"},
        ],
        lines(),
    )

    told = [row["rule"] for row in dropped]
    assert told == ["language", "max_line_length", "mean_line_length", "alphanumeric_fraction", "xml_declaration"]
    names = [name for name, _ in RULES]
    assert sorted(told, key=names.index) == told


def test_a_window_of_zero_turns_the_xml_rule_off(verdict):
    assert verdict({"content": XML}, lines(xml_declaration_window_chars=0)) is None


JSON_50 = {"language": "json", "extension": ".json", "content": '{"name": "' + "a" * 38 + '"}'}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"name": "' + "a" * 38 + '"}', None),
        ('{"name": "' + "a" * 37 + '"}', ("data_file_size", "49", "50 to 5000 characters")),
        ("a" * 5000, None),
        ("a" * 5001, ("data_file_size", "5001", "50 to 5000 characters")),
        ("a" * 50 + "1" * 50, None),
        ("a" * 50 + "1" * 51, ("alphabetic_fraction", "0.4950", "0.5")),
        ("\u4e2d" * 30 + "1" * 20, None),
    ],
)
def test_json_is_kept_from_50_characters_on(verdict, content, told):
    """The paper's 50: the reference code's own default is 100."""
    found = verdict({"language": "json", "extension": ".json", "content": content}, config("starcoder"))

    assert found == (None if told is None else (*told, ""))


@pytest.mark.parametrize("extension", ["", ".dev"])
def test_a_dockerfile_without_an_ending_is_kept(verdict, extension):
    """The reference dropped what its table of endings lacked."""
    languages = {"select": "list", "names": ["python", "dockerfile"]}
    row = {"language": "dockerfile", "extension": extension, "content": "FROM debian\nRUN true\n"}

    assert verdict(row, config("starcoder", languages=languages)) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"language": "markdown", "extension": ".md", "content": "word " * 500}, None),
        ({"language": "xslt", "extension": ".xslt", "content": XML}, None),
        ({"language": "python", "extension": ".py", "content": XML}, "xml_declaration"),
        # The files that the XML filter and the alpha filter were made for: styled layers, and MATLAB's columns.
        ({"language": "scheme", "extension": ".sld", "content": XML}, "xml_declaration"),
        ({"language": "scheme", "extension": ".sld", "content": "word " * 20 + XML}, None),
        ({"language": "matlab", "extension": ".matlab", "content": "12.5 3.25 7\n" * 9}, "alphabetic_fraction"),
        ({"language": "matlab", "extension": ".matlab", "content": "y = sqrt(x);\n" * 9}, None),
        ({"language": "sas", "extension": ".sas", "content": "-- -- --\n" * 9}, None),
        ({"language": "python", "extension": ".py", "content": "x" * 1001 + "\n" * 30}, "max_line_length"),
        ({"language": "python", "extension": ".py", "content": "x" * 1000 + "\n" * 30}, None),
    ],
)
def test_an_ending_has_the_limits_that_starcoders_reviewers_gave_it(verdict, row, told):
    found = verdict(row, config("starcoder", languages={"select": "starcoder"}))

    assert (found and found[0]) == told


def page(visible, total):
    """A page of so many characters, so many of which a reader sees."""
    start, middle, end = "<p>", "</p><script>\n", "</script>"
    hidden = "var word;\n" * 200
    return f"{start}{('word ' * 99)[:visible]}{middle}{hidden[: total - visible - len(start + middle + end)]}{end}"


@pytest.mark.parametrize(
    ("preset", "visible", "total", "is_kept"),
    [
        ("starcoder", 101, 300, True),
        ("starcoder", 100, 300, False),
        ("starcoder2", 100, 300, True),
        ("starcoder2", 99, 300, False),
        ("starcoder", 200, 1000, False),
        ("starcoder2", 200, 1000, True),
        ("starcoder", 201, 1000, True),
    ],
)
def test_html_needs_visible_text(verdict, preset, visible, total, is_kept):
    """StarCoder wants more than 100 characters and more than a fifth of all, StarCoder2 no less than both."""
    row = {"language": "html", "extension": ".html", "content": page(visible, total)}
    found = verdict(row, config(preset))

    assert len(row["content"]) == total
    assert found is None if is_kept else found[:2] == ("html_visible_text", f"{visible} and {visible / total:.4f}")


def test_a_page_of_ten_thousand_nested_elements_is_only_dropped(verdict):
    content = "<div>\n" * 10_000 + "\n".join("word " * 9 for _ in range(9)) + "</div>\n" * 10_000

    assert verdict({"language": "html", "extension": ".html", "content": content}, config("starcoder2"))[0] in (
        "html_visible_text",
        "alphabetic_fraction",
    )


def test_deep_json_is_not_parsed(verdict):
    content = "[" * 10_000 + "]" * 10_000

    assert verdict({"language": "json", "extension": ".json", "content": content}, config("starcoder"))[0] in (
        "alphanumeric_fraction",
        "data_file_size",
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"content": "# AUTO-generated from a.idl\nx = 1\n"}, ("autogenerated", "AUTO-generated")),
        ({"content": "\n" * 4 + "# This file is generated\n"}, ("autogenerated", "This file is generated")),
        ({"content": "import os\n" * 5 + "# This file is generated\n"}, None),
        ({"content": "x = 1\n" * 100_001}, ("max_lines", "100001")),
        ({"content": "x = a\n" * 100_000}, None),
        ({"content": "a = 1\n" * 513, "language": "yaml"}, ("max_lines", "513")),
        ({"content": "a = '" + "QUJD" * 20 + "'\n"}, ("encoded_data", "0.9195")),
        ({"content": ("QUJD" * 20 + "\n") * 13, "language": "markdown"}, ("encoded_data", "1053")),
        ({"content": "x = 1; y = 2; 3, 4, 5, 6, 7, 8, 9\n"}, ("alphabetic_fraction", "0.0588")),
        ({"content": "notes of a walk\n", "language": "text", "path": "a/walk.txt"}, ("text_file_name", "walk.txt")),
        ({"content": "all of them\n", "language": "text", "path": "a/README.txt"}, None),
        ({"content": "numpy\nscipy\n", "language": "text", "path": "dev-Requirements.txt"}, None),
        ({"content": "word " * 20_000, "language": "markdown"}, None),
        ({"content": "word " * 20_001, "language": "markdown"}, ("max_line_length", "100005")),
    ],
)
def test_starcoder2s_rules(verdict, row, told):
    found = verdict(row, config("starcoder2", languages=WHO["languages"]))

    assert (found and found[:2]) == told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("x = 1\n" * 100, ("comment_fraction", "0.0000", "above 0.01 and below 0.8")),
        ("# only words\n" * 9, ("comment_fraction", "0.9231", "above 0.01 and below 0.8")),
        ("# half\nx = 1\n", None),
    ],
)
def test_santacoder_wants_some_comments_and_some_code(verdict, content, told):
    assert verdict({"content": content}, config()) == (None if told is None else (*told, ""))


def test_santacoder_tried_stars(filtered):
    rows = [{"content": f"x = {stars}\n", "stars": stars, "path": f"{stars}.py"} for stars in (6, 5, None)]
    _, kept, dropped = filtered(rows, config("santacoder-stars"))

    assert [row["stars"] for row in kept] == [6]
    assert [(row["value"], row["threshold"]) for row in dropped] == [("5", "more than 5"), ("unknown", "more than 5")]


@pytest.fixture
def tokenizer_file(tmp_path):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["return value\n" * 50], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_a_given_tokenizer_judges_by_characters_per_token(filtered, tokenizer_file):
    parameters = lines(characters_per_token={"tokenizer_file": tokenizer_file.name, "minimum": {"python": 2.5}})
    rows = [{"content": "return value\n"}, {"content": "zqxj kvwb\n"}, {"content": "zqxj\n", "language": "markdown"}]
    _, kept, [dropped] = filtered(rows, parameters)

    assert [row["content"] for row in kept] == ["return value\n", "zqxj\n"]
    assert (dropped["rule"], dropped["threshold"]) == ("characters_per_token", "2.5")
    assert resolve_sources(parameters, tokenizer_file.parent)["tokenizer_file"]


@pytest.mark.parametrize("text", [None, "", "{}", "\ud800"])
def test_a_tokenizer_that_is_none_is_told_before_anything_is_read(tmp_path, text):
    if text is not None:
        (tmp_path / "tokenizer.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    parameters = lines(characters_per_token={"tokenizer_file": "tokenizer.json", "minimum": {"python": 2.5}})

    with pytest.raises(SourceError, match=r"tokenizer_file .* cannot be read \("):
        resolve_sources(parameters, tmp_path)


def test_our_reviewers_verdicts_decide_and_enter_the_fingerprint(filtered, tmp_path):
    parameters = config("starcoder", inspection_file="inspection.csv")
    absent = resolve_sources(parameters, tmp_path)
    verdicts = [
        Inspection("python", ".py", "include", max_line_chars=20),
        Inspection("markdown", ".md", "exclude", "ada", "2026-11-24", "all the same"),
    ]
    write_inspections(tmp_path / "inspection.csv", verdicts)
    rows = [
        GOOD,
        {"content": "value = 'twenty-one characters'\n"},
        {"content": "words\n", "language": "markdown", "extension": ".md"},
    ]
    _, kept, dropped = filtered(rows, parameters)

    assert absent["inspection_file"] == "absent"
    assert set(absent) == {"extension_rules", "inspection_file"}
    assert resolve_sources(parameters, tmp_path) != absent
    assert len(kept) == 1
    told = [(row["rule"], row["value"], row["threshold"], row["detail"]) for row in dropped]
    assert told == [
        ("max_line_length", "31", "20", ""),
        ("extension_excluded", ".md of markdown", "not excluded at inspection", "ada 2026-11-24 all the same"),
    ]


def test_every_row_ends_on_one_side_and_keeps_its_order_and_columns(filtered):
    rows = [
        {"content": f"x = {number}\n" if number % 3 else "-\n", "path": f"{number}.py", "stars": number, "commit": "c"}
        for number in range(50)
    ]
    summary, kept, dropped = filtered(rows, lines())

    assert [row["content"] for row in kept] == [row["content"] for row in rows if row["content"] != "-\n"]
    assert [row["path"] for row in dropped] == [f"{number}.py" for number in range(0, 50, 3)]
    assert {row["commit"] for row in dropped} == {"c"}
    assert summary.files.kept_files + summary.files.dropped_files == 50
    assert summary.bytes_by_language == {"python": sum(row["size_bytes"] for row in kept)}
    assert summary.languages == {"python": "named in the list"}


def test_a_cap_draws_from_what_passed_and_every_row_is_told(filtered):
    rows = [{"content": f"x = {number}\n" if number % 3 else "-\n", "path": f"{number}.py"} for number in range(300)]
    rows += [{"content": f"# {number}\n", "language": "markdown"} for number in range(40)]
    capped = lines(max_bytes_by_language={"python": 500})
    summary, kept, dropped = filtered(rows, capped, shard_bytes=1024)
    again, kept_again, _ = filtered(rows, capped)
    unbound, kept_all, _ = filtered(rows, lines(max_bytes_by_language={"python": 10**6}))

    size = summary.bytes_by_language
    assert (size["python"] <= 500, size["python"] > 480, size["markdown"] > 0) == (True, True, True)
    assert (summary.files.kept_files, len(kept)) == (len(kept), len(kept_again))
    assert {row["file_id"] for row in kept} == {row["file_id"] for row in kept_again}
    assert summary.files.kept_files + summary.files.dropped_files == 340
    assert len(dropped) == summary.files.dropped_files
    assert {row["detail"] for row in dropped if row["rule"] == "language_share"} == {"500 bytes of python"}
    assert list(summary.shares_by_language) == ["python"] == list(again.shares_by_language)
    assert (unbound.shares_by_language, len(kept_all), unbound.files.dropped_files) == ({}, 240, 100)


def test_the_rule_of_sizes_reads_the_sizes_of_its_input(filtered):
    rows = [{"content": f"x = {number}\n"} for number in range(30)] + [{"content": "words\n", "language": "markdown"}]
    summary, kept, [dropped] = filtered(rows, lines(languages={"select": "rule", "min_bytes": 100}))

    assert len(kept) == 30
    assert summary.languages == {"python": "200 bytes are more than 100"}
    assert (dropped["value"], dropped["detail"]) == ("markdown", "6 bytes are not more than 100, and no list has it")


def test_the_content_model_finds_languages_that_names_leave_open(filtered):
    rows = [
        GOOD,
        {
            "path": "read",
            "language": None,
            "extension": "",
            "content": "import os\n\n\ndef size(path):\n    return os.stat(path)\n",
        },
    ]
    without, kept, _ = filtered(rows, lines())
    looked, kept_looked, _ = filtered(rows, lines(content_model="magika"))

    assert (len(kept), len(kept_looked), kept_looked[1]["language"]) == (1, 2, "python")
    assert (without.content_asked, looked.content_asked, looked.content_answered) == (0, 1, 1)


def test_what_deceives_the_eye_is_dropped_with_its_rule_or_kept_and_counted(filtered):
    rows = [GOOD, {"content": "x = '\u202eabc\u2069'\n"}, {"content": "x = 'abc\0'\n"}, {"content": "-\u202e\0-"}]
    summary, kept, dropped = filtered(rows, lines())

    assert len(kept) == 1
    assert [(row["rule"], row["value"], row["threshold"]) for row in dropped] == [
        ("bidi_controls", "2", "no bidirectional control"),
        ("nul", "1", "no NUL"),
        ("alphanumeric_fraction", "0.0000", "0.25"),
    ]
    assert (summary.files_with_bidi_controls, summary.files_with_nul) == (0, 0)

    summary, kept, _ = filtered(rows, lines(hidden_characters="keep"))
    assert (len(kept), summary.files_with_bidi_controls, summary.files_with_nul) == (3, 1, 1)


def test_a_preset_that_the_numbers_are_is_named(filtered):
    assert filtered([GOOD], config("starcoder"))[0].preset == "starcoder"
    assert filtered([GOOD], config("starcoder", max_line_length_chars=999))[0].preset == "own"


def rules_of(parameters):
    return QualityRules(parameters, select_languages({}, parameters), {}, None)


def test_the_function_is_one_that_another_process_can_run(table_of):
    [batch] = read_files(table_of([GOOD | {"stars": 3, "license": None}, {"content": "-"}, GOOD | {"path": "b.py"}]))
    function = pickle.loads(pickle.dumps(partial(filter_batch, rules=rules_of(lines()))))  # noqa: S301 - our own
    mapped = function(batch)

    assert mapped.kept.equals(batch.take(pa.array([0, 2])))
    assert mapped.dropped.num_rows == 1
    empty = function(batch.slice(0, 0))
    assert (empty.kept.num_rows, empty.dropped.num_rows) == (0, 0)


def test_neither_shards_nor_repetition_change_what_is_written(table_of, tmp_path):
    rows = [{"content": f"x = {number}\n" * 9 if number % 5 else "-"} for number in range(300)]
    written = []
    for shard_bytes in (1 << 20, 1 << 20, 4096):
        table = table_of(rows, shard_bytes)
        out = tmp_path / f"out-{len(written)}"
        out.mkdir()
        run(lines(), raw_files=table, workspace=tmp_path, out=out, work_dir=tmp_path / f"work-{len(written)}")
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
        ids = [file_id for batch in read_files(out) for file_id in batch["file_id"].to_pylist()]
        written[-1]["ids"] = "".join(ids).encode()

    assert written[0] == written[1]
    assert written[0]["ids"] == written[2]["ids"]
    assert len(written[2]) > len(written[0])


def test_nothing_left_is_told_with_the_rules(filtered):
    with pytest.raises(EmptyArtifactError, match=r"no file passed .*\(dropped: alphanumeric_fraction 1, language 1\)"):
        filtered([{"content": "-"}, GOOD | {"language": "c"}], lines())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"languages": {"select": "list", "names": ["python9"]}}, "languages.names names 'python9'.*write one of"),
        ({"comments": PRESETS["santacoder"]["comments"] | {"languages": ["perl"]}}, "'perl', whose comments cannot"),
    ],
)
def test_a_language_that_will_not_do_is_told_before_anything_is_read(tmp_path, changes, told):
    with pytest.raises(ParamsError, match=told):
        run(lines(**changes), raw_files=tmp_path / "none", workspace=tmp_path, out=tmp_path, work_dir=tmp_path)


MEASURED = """
import json, resource, sys
import pyarrow as pa
from components.corpus.filter_quality import filter_batch
from components.corpus.language_selection import select_languages
from components.corpus.quality_config import FilterQualityConfig
from components.corpus.quality_rules import QualityRules
from data_contracts.columns import CODE_FILES

def batch_of(text):
    row = dict.fromkeys(CODE_FILES.names, "") | {"content": text, "size_bytes": len(text), "language": "markdown"}
    return pa.RecordBatch.from_pylist([row | dict.fromkeys(("stars", "forks", "updated_at"))], CODE_FILES)

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

for raw in json.loads(sys.argv[1]):
    config = FilterQualityConfig.model_validate(raw)
    rules = QualityRules(config, select_languages({}, config), {}, None)
    filter_batch(batch_of("warm words # here"), rules)
    batch = batch_of("x" * 49_999_998 + "\\u00e9")
    before = peak_bytes()
    mapped = filter_batch(batch, rules)
    print(mapped.dropped["rule"][0], mapped.dropped["value"][0], peak_bytes() - before)
"""


def test_a_line_of_50_megabytes_costs_less_than_three_times_its_size():
    presets = [lines(long_lines_max_chars=1000), config("starcoder2"), config("starcoder2", long_lines_max_chars=None)]
    raw = json.dumps([preset.model_dump(mode="json") for preset in presets])
    done = subprocess.run([sys.executable, "-c", MEASURED, raw], capture_output=True, text=True, check=True)
    told = [line.split() for line in done.stdout.splitlines()]

    assert [(rule, value) for rule, value, _ in told] == [
        ("max_line_length", "49999999"),
        ("max_line_length", "49999999"),
        ("encoded_data", "49999998"),
    ]
    assert max(int(grown_bytes) for _, _, grown_bytes in told) < 3 * 50_000_000
