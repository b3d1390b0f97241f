"""The page as a file: the same bytes each time, nothing from elsewhere, and no word of a file where it could act."""

import base64
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from components.corpus.inspection_table import Inspection

PYTHON = [{"path": f"src/{number}.py", "content": f"def f{number}():\n    return {number}\n"} for number in range(9)]


def index_of(page: Path) -> dict[str, Any]:
    [told] = re.findall(
        r'<script id="index" type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL
    )
    return json.loads(told)


def files_of(page: Path, number: int = 0) -> list[dict[str, Any]]:
    [payload] = re.findall(rf'<script id="files-{number}" type="text/plain">(.*?)</script>', page.read_text("utf-8"))
    return json.loads(zlib.decompress(base64.b64decode(payload, validate=True)))


def ending_of(page: Path, extension: str) -> dict[str, Any]:
    [found] = [ending for ending in index_of(page)["endings"] if ending["extension"] == extension]
    return found


def test_the_same_sample_gives_the_same_bytes(page_of: Any, table_of: Any, hostile_files: Any) -> None:
    rows = [*PYTHON, *hostile_files]
    first, second = page_of(table_of(rows)), page_of(table_of(rows[::-1], 2_000), name="second.html")
    assert first.read_bytes() == second.read_bytes()
    assert {path.name for path in first.parent.iterdir()} == {"index.html", "second.html"}


def test_every_file_is_in_it_with_its_reasons(page_of: Any, table_of: Any) -> None:
    table = table_of([*PYTHON, {"path": "src/line.py", "content": "x = '" + "a b " * 400 + "'\n"}])
    page = page_of(table)
    files = {file["path"]: file for file in files_of(page)}

    assert files["src/3.py"]["text"] == "def f3():\n    return 3"
    assert files["src/3.py"]["drops"] == files["src/3.py"]["oddities"] == []
    assert files["src/3.py"]["marks"].startswith("3k1_2f")
    [rule, *_] = files["src/line.py"]["drops"]
    assert rule == {"rule": "max_line_length", "value": "1606", "threshold": "1000", "detail": ""}
    assert (ending_of(page, ".py")["dropped"], ending_of(page, ".py")["shown"]) == (1, 10)


def test_nothing_is_fetched_and_no_other_script_runs(page_of: Any, table_of: Any) -> None:
    text = page_of(table_of(PYTHON)).read_text("utf-8")
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == "'self'"
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert rules["script-src"] == f"'{_hash(script)}'"
    assert rules["style-src"] == f"'{_hash(style)}'"
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)|@import|url\(""", text)
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|eval|Function)\b|document\.write", script)


def test_no_word_of_a_file_stands_where_it_could_act(page_of: Any, table_of: Any, hostile_files: Any) -> None:
    standing = [Inspection("html", ".html", "unsure", "</script><script>window.ran=6</script>", "", "<!-- <script>")]
    page = page_of(table_of([*hostile_files, *PYTHON]), standing, reviewer="</script><img src=x onerror=window.ran=7>")
    text = page.read_text("utf-8")

    assert "window.ran" in "".join(file["text"] for number in (0, 1) for file in files_of(page, number))
    assert "onerror" not in re.sub(r'<script id="index".*?</script>', "", text, flags=re.DOTALL)
    assert len(re.findall(r"<script", text)) == len(re.findall(r"</script>", text)) == 4
    assert "<!--" not in text
    assert index_of(page)["reviewer"] == "</script><img src=x onerror=window.ran=7>"
    assert ending_of(page, ".html")["own"]["comment"] == "<!-- <script>"
    assert "\u202e" not in text


def test_what_no_rule_drops_and_a_reviewer_should_know_is_told(page_of: Any, table_of: Any, hostile_files: Any) -> None:
    page = page_of(table_of([*hostile_files, {"path": "a.json", "language": "json", "extension": ".json",
                                              "content": '{"a": undefined}\n'}]))  # fmt: skip
    files = {file["path"]: file for number in range(3) for file in files_of(page, number)}

    assert files["bidi.py"]["oddities"][:2] == ["4 characters that turn it", "1 NUL character"]
    assert re.fullmatch(r"\d+ places that are not of this language", files["a.json"]["oddities"][0])
    assert files["no-end.py"]["oddities"] == []
    assert files["line.py"]["oddities"] == []  # it was cut in the middle of a text: that is our doing


def test_limits_are_told_as_the_form_takes_them(page_of: Any, table_of: Any) -> None:
    own = Inspection("python", ".py", "include", "Ada", "2026-11-24", max_line_chars="off", xml_declaration="off")
    ending = ending_of(page_of(table_of(PYTHON), [own]), ".py")

    assert (ending["own"]["max_line_chars"], ending["own"]["verdict"]) == ("off", "include")
    assert ending["limits"] == {  # what would hold if the form left them empty
        "max_line_chars": "1000", "min_alphanumeric_fraction": "0.25", "min_alphabetic_fraction": "off",
        "xml_declaration": "",
    }  # fmt: skip


def test_starcoders_verdicts_stand_beside_ours(page_of: Any, table_of: Any) -> None:
    row = {"path": "a.cats", "language": "c", "extension": ".cats", "content": "int a;\n"}
    ending = ending_of(page_of(table_of([row])), ".cats")
    assert ending["starcoder"]["reviewer"] == "StarCoder"
    assert ending["own"] is None


def test_a_page_that_cannot_be_written_leaves_nothing_behind(page_of: Any, table_of: Any) -> None:
    page = page_of(table_of(PYTHON))
    (page.parent / "taken" / "by").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        page_of(table_of(PYTHON), name="taken")
    assert {path.name for path in page.parent.iterdir()} == {"index.html", "taken"}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
