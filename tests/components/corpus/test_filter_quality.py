"""The quality rules: what each one sees, which one decides, and that a line without an end costs no memory."""

import subprocess
import sys

import pyarrow as pa
import pytest

from components.corpus.config import FilterQualityConfig
from components.corpus.filter_quality import filter_batch, run
from components.errors import EmptyArtifactError, ParamsError
from components.tables import read_dropped, read_files


def config(**changes):
    return FilterQualityConfig.model_validate(
        {
            "recipe": 1,
            "languages": ["python", "markdown"],
            "max_line_length_chars": 40,
            "max_mean_line_length_chars": 20,
            "min_alphanumeric_fraction": 0.25,
            "xml_declaration_window_chars": 30,
            "long_lines_allowed": ["markdown"],
        }
        | changes
    )


@pytest.fixture
def filtered(table_of, tmp_path):
    """Call it with rows and config: the summary, the kept contents and the dropped rows."""

    def call(rows, parameters):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        summary = run(parameters, raw_files=table_of(rows), out=out)
        kept = [content for batch in read_files(out) for content in batch.column("content").to_pylist()]
        return summary, kept, [row for batch in read_dropped(out) for row in batch.to_pylist()]

    return call


GOOD = {"content": "x = 1\n"}
XML = '<?xml version="1.0"?>\n<a>text</a>\n'


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"content": "x" * 41 + "\n" + "y\n" * 9}, ("max_line_length", "41", "40")),
        ({"content": "\u4e2d" * 41 + "\n" + "y\n" * 9}, ("max_line_length", "41", "40")),
        ({"content": "x" * 30 + "\n" + "y" * 11}, ("mean_line_length", "20.5000", "20.0")),
        ({"content": "x---\n"}, ("alphanumeric_fraction", "0.2000", "0.25")),
        ({"content": XML}, ("xml_declaration", "<?xml version=", "not in the first 30 characters")),
        ({"content": "\u00e9\n" * 8 + "<?xml version="}, ("xml_declaration", "<?xml version=", None)),
        ({"content": "x\n", "language": "c"}, ("language", "c", "one of filter_quality.languages")),
        ({"content": "x\n", "language": None}, ("language", "unknown", "one of filter_quality.languages")),
    ],
)
def test_each_rule_drops_with_what_it_saw_and_what_it_allows(filtered, row, reason):
    _, kept, [dropped] = filtered([GOOD, row], config())

    rule, value, threshold = reason
    assert kept == [GOOD["content"]]
    assert (dropped["rule"], dropped["value"]) == (rule, value)
    assert threshold is None or dropped["threshold"] == threshold


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
def test_at_its_limit_a_file_is_kept(filtered, row):
    _, kept, dropped = filtered([row], config())

    assert (kept, dropped) == ([row["content"]], [])


def test_the_first_failing_rule_in_the_documented_order_decides(filtered):
    bad = "<?xml version=" + "-" * 100
    _, _, dropped = filtered(
        [
            GOOD,
            {"content": bad, "language": "c"},
            {"content": bad[:38], "language": "c"},
            {"content": bad, "language": "markdown"},
            {"content": "<?xml version=1", "language": "c"},
        ],
        config(),
    )

    assert [row["rule"] for row in dropped] == [
        "max_line_length",
        "mean_line_length",
        "alphanumeric_fraction",
        "xml_declaration",
    ]


def test_a_window_of_zero_turns_the_xml_rule_off(filtered):
    _, kept, _ = filtered([{"content": XML}], config(xml_declaration_window_chars=0))

    assert kept == [XML]


def test_every_row_ends_on_one_side_and_keeps_its_order_and_columns(filtered):
    rows = [
        {"content": f"x = {number}\n" if number % 3 else "-\n", "path": f"{number}.py", "stars": number, "commit": "c"}
        for number in range(50)
    ]
    summary, kept, dropped = filtered(rows, config())

    assert kept == [row["content"] for row in rows if row["content"] != "-\n"]
    assert [row["path"] for row in dropped] == [f"{number}.py" for number in range(0, 50, 3)]
    assert {row["commit"] for row in dropped} == {"c"}
    assert summary.files.kept_files + summary.files.dropped_files == 50
    assert summary.bytes_by_language == {"python": sum(map(len, kept))}


def test_an_arrow_batch_goes_in_and_two_come_out_with_nothing_changed(table_of):
    [batch] = read_files(table_of([GOOD | {"stars": 3, "license": None}, {"content": "-"}, GOOD | {"path": "b.py"}]))
    kept, dropped = filter_batch(batch, config())

    assert kept.equals(batch.take(pa.array([0, 2])))
    assert dropped.num_rows == 1
    empty, none = filter_batch(batch.slice(0, 0), config())
    assert (empty.num_rows, none.num_rows) == (0, 0)


def test_twice_gives_the_same_bytes(table_of, tmp_path):
    table = table_of([{"content": f"x = {number}\n" * 9 if number % 5 else "-"} for number in range(300)])
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        run(config(), raw_files=table, out=tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )

    assert first == second


def test_nothing_left_is_told_with_the_rules(table_of, tmp_path):
    with pytest.raises(EmptyArtifactError, match=r"no file passed .*\(dropped: alphanumeric_fraction 1, language 1\)"):
        run(config(), raw_files=table_of([{"content": "-"}, GOOD | {"language": "c"}]), out=tmp_path)


@pytest.mark.parametrize("key", ["languages", "long_lines_allowed"])
def test_an_unknown_language_is_named_before_anything_is_read(tmp_path, key):
    with pytest.raises(ParamsError, match=f"filter_quality.{key} names 'python9'.*write one of .*python"):
        run(config(**{key: ["python9"]}), raw_files=tmp_path / "missing", out=tmp_path)


MEASURED = """
import resource, sys
import pyarrow as pa
from components.corpus.config import FilterQualityConfig
from components.corpus.filter_quality import filter_batch
from data_contracts.columns import CODE_FILES

def batch_of(text):
    row = dict.fromkeys(CODE_FILES.names, "") | {"content": text, "size_bytes": len(text), "stars": None}
    return pa.RecordBatch.from_pylist([row], CODE_FILES)

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

config = FilterQualityConfig.model_validate_json(sys.argv[1])
filter_batch(batch_of(b"warm"), config)
batch = batch_of(b"x" * 19_999_998 + "\\u00e9".encode())
before = peak_bytes()
kept, dropped = filter_batch(batch, config)
print(dropped["value"][0], peak_bytes() - before)
"""


def test_a_line_of_20_megabytes_costs_less_than_twice_its_size():
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, config().model_dump_json()], capture_output=True, text=True, check=True
    )
    value, grown_bytes = done.stdout.split()

    assert value == "19999999"
    assert int(grown_bytes) < 2 * 20_000_000
