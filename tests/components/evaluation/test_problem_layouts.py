"""What each published layout gives away of a problem. Under a second."""

import pytest

from components.evaluation.problem_layouts import LAYOUTS, LayoutError, SourceRow, layout_of


def _read(name, **values):
    assert layout_of(values) is LAYOUTS[name]
    return LAYOUTS[name].read(SourceRow(values, "Made", 5))


def _texts(row):
    return [(text.kind, text.text) for text in row.texts]


DOCSTRING = '    """ Double x.\n    >>> double(2)\n    4\n    """\n'
PROMPT = f"from math import pi\nimport re\n\n\ndef double(x):\n{DOCSTRING}"


def test_human_eval_gives_docstring_solution_and_program_without_imports_and_can_be_asked():
    values = {"task_id": "H/0", "prompt": PROMPT, "canonical_solution": "    return 2 * x\n", "entry_point": "double"}
    row = _read("human_eval", test="check", **values)
    assert _texts(row) == [
        ("docstring", DOCSTRING.strip().strip('"')),
        ("canonical_solution", "    return 2 * x\n"),
        ("program", f"\n\ndef double(x):\n{DOCSTRING}    return 2 * x\n"),
    ]
    assert (row.problem.prompt, row.problem.language, row.problem.entry_point) == (PROMPT, "python", "double")


def test_every_docstring_of_a_prompt_counts():
    prompt = "def help():\n    '''First.'''\n    pass\n\n\ndef double(x):\n    \"\"\"Second.\"\"\"\n"
    row = _read("human_eval", task_id="H/1", prompt=prompt, canonical_solution="pass", test="", entry_point="double")
    assert _texts(row)[:2] == [("docstring", "First."), ("docstring", "Second.")]


@pytest.mark.parametrize(
    ("prompt", "declaration", "docstring", "program"),
    [
        (
            "/*\nDouble x.\n*/\n#include<stdio.h>\n#include <vector>\nusing namespace std;\nint twice(int x){\n",
            "#include<stdio.h>\nusing namespace std;\n#include<math.h>\nint twice(int x){\n",
            "\nDouble x.\n",
            "/*\nDouble x.\n*/\nint twice(int x){\n}",
        ),
        (
            "import java.util.*;\n\nclass Solution {\n    /**\n    Double x.\n     */\n    int twice(int x) {\n",
            "import java.util.*;\n\nclass Solution {\n    int twice(int x) {\n",
            "\n    Double x.\n     ",
            "\nclass Solution {\n    /**\n    Double x.\n     */\n    int twice(int x) {\n}",
        ),
        (
            "\n// Double x.\n// >>> Twice(2)\nfunc Twice(x int) int {\n",
            "\nfunc Twice(x int) int {\n",
            "// Double x.\n// >>> Twice(2)\n",
            "\n// Double x.\n// >>> Twice(2)\nfunc Twice(x int) int {\n}",
        ),
        (
            "\n/*\n Double x.\n*/\n",
            "\nuse rand::Rng;\nuse md5;\n\nfn twice(x: i32) -> i32 {\n",
            "\n Double x.\n",
            "\n/*\n Double x.\n*/\n\n\nfn twice(x: i32) -> i32 {\n}",
        ),
    ],
    ids=["cpp", "java", "go", "rust"],
)
def test_humaneval_x_gives_comments_of_every_language(prompt, declaration, docstring, program):
    row = _read("human_eval_x", task_id="X/0", prompt=prompt, declaration=declaration, canonical_solution="}", test="t")
    assert _texts(row) == [("docstring", docstring), ("canonical_solution", "}"), ("program", program)]
    assert row.problem is None


def test_infilling_is_put_together_again():
    lines = ["    a = x\n", "    b = x\n", "    return a + b\n"]
    for cut in range(3):
        row = _read(
            "infilling",
            task_id=f"I/{cut}",
            prompt=PROMPT + "".join(lines[:cut]),
            canonical_solution=lines[cut],
            suffix="".join(lines[cut + 1 :]),
            test="check",
            entry_point="double",
        )
        assert _texts(row)[1:] == [
            ("canonical_solution", "\n" + "".join(lines)),
            ("program", f"\n\ndef double(x):\n{DOCSTRING}{''.join(lines)}"),
        ]
        assert row.problem is None


@pytest.mark.parametrize(("task", "is_test"), [(10, False), (11, True), (510, True), (511, False), (974, False)])
def test_of_mbpp_the_test_split_is_read_task_ids_11_to_510(task, is_test):
    row = _read("mbpp", task_id=task, text="Write it.", code="def f(): pass", test_list=["assert f()"])
    assert (row is not None) == is_test
    if row is not None:
        assert row.task_id == str(task)
        assert _texts(row) == [("description", "Write it."), ("canonical_solution", "def f(): pass")]


def test_the_sanitized_mbpp_calls_its_description_prompt():
    row = _read("mbpp", task_id=11, prompt="Write it.", code="def f(): pass", test_list=[], test_imports=[])
    assert _texts(row)[0] == ("description", "Write it.")


def test_questions_are_all_that_apps_and_gsm8k_are_searched_for():
    row = _read("apps", id=3, question="Given n, ...", solutions='["print(1)"]', input_output="{}")
    assert (row.task_id, _texts(row)) == ("3", [("question", "Given n, ...")])
    row = _read("gsm8k", question="How many eggs?", answer="18")
    assert (row.task_id, _texts(row)) == ("5", [("question", "How many eggs?")])


@pytest.mark.parametrize("marker", ["# SOLUTION START\n", "BEGIN SOLUTION\n<code>\n"])
def test_a_prompt_of_ds_1000_ends_where_the_answer_begins(marker):
    prompt = f"Problem:\nHow do I sort a frame?\nA:\ndf = load()\n{marker}"
    row = _read("ds_1000", prompt=prompt, reference_code="df.sort()", metadata={"problem_id": 12})
    assert row.task_id == "12"
    ((kind, text),) = _texts(row)
    assert kind == "prompt"
    assert text.rstrip("# ") == "Problem:\nHow do I sort a frame?\nA:\ndf = load()\n"


@pytest.mark.parametrize("task", [None, "11", 1.5])
def test_a_task_of_mbpp_must_have_a_number(task):
    with pytest.raises(LayoutError, match=r"'task_id' is .*, not a whole number"):
        _read("mbpp", task_id=task, text="", code="", test_list=[])
