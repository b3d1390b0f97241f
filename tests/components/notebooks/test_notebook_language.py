"""The language that a notebook declares, and the one that its code looks like."""

import json

import jupytext.formats
import pytest

from components.notebooks.guarded_json import JsonLimits
from components.notebooks.notebook_language import (
    NOTEBOOK_LANGUAGES,
    LanguageHints,
    declared_language,
    guess_language,
)
from components.notebooks.read_notebook import read_notebook
from components.sources.languages import language_of

LIMITS = JsonLimits(depth=100, values=1_000_000)

KERNELS = [
    ({"kernelspec": {"name": "python3", "display_name": "Python 3"}}, "python"),
    ({"kernelspec": {"name": "conda-root-py"}, "language_info": {"name": "python"}}, "python"),
    ({"kernelspec": {"name": "conda-env-x", "display_name": "Python [conda env:x]"}}, "python"),
    ({"kernelspec": {"name": "ir", "language": "R"}, "language_info": {"file_extension": ".r"}}, "r"),
    ({"kernelspec": {"name": "ir41"}}, "r"),
    ({"kernelspec": {"name": "julia-1.10", "language": "julia"}}, "julia"),
    ({"language_info": {"file_extension": ".jl", "name": "julia"}}, "julia"),
    ({"language_info": {"name": "c++"}, "kernelspec": {"name": "xcpp17"}}, "cpp"),
    ({"kernelspec": {"name": "xcpp17"}}, "cpp"),
    ({"kernelspec": {"name": ".net-csharp", "language": "C#"}}, "c-sharp"),
    ({"language_info": {"name": "scala", "file_extension": ".sc"}}, "scala"),
    ({"kernelspec": {"name": "javascript", "display_name": "Javascript (Node.js)"}}, "javascript"),
    ({"language_info": {"name": "ruby", "file_extension": ".rb"}, "kernelspec": {"name": "ruby"}}, "ruby"),
    ({"kernelspec": {"name": "my-environment", "display_name": "Environment (tensorflow)"}}, None),
    ({"kernelspec": {"name": "", "language": " "}, "language_info": {}}, None),
    ({"kernelspec": "python3", "language_info": ["python"]}, None),
    ({"kernelspec": {"name": 3, "language": {"python": 1}}}, None),
    ({}, None),
    (None, None),
]


@pytest.mark.parametrize(("metadata", "language"), KERNELS)
def test_the_language_is_what_the_metadata_names(written, metadata, language):
    assert read_notebook(written(("code", "x"), metadata=metadata), LIMITS).language == language


def test_py_in_json_dumps_metadata_does_not_make_a_notebook_python(written):
    """The reference asks `'py' in json.dumps(metadata)`, which holds of whatever was ever near Jupyter."""
    metadata = {"kernelspec": {"name": "ir", "display_name": "R (jupyter)"}, "jupytext": {"formats": "ipynb"}}
    assert "py" in json.dumps(metadata)
    assert read_notebook(written(("code", "x <- 1"), metadata=metadata), LIMITS).language == "r"
    only_jupyter = {"jupyter": {"widgets": {}}, "kernelspec": {"name": "jupyter-kernel"}}
    assert "py" in json.dumps(only_jupyter)
    assert read_notebook(written(("code", "x"), metadata=only_jupyter), LIMITS).language is None


def test_in_nbformat_3_a_code_cell_names_the_language():
    cells = [{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "input": "x", "language": "julia"}]
    data = json.dumps({"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]}).encode()
    assert read_notebook(data, LIMITS).language == "julia"


def test_the_ending_says_it_before_a_language_and_a_language_before_a_kernel():
    assert declared_language(LanguageHints(".jl", ("python",), ("ir",))) == "julia"
    assert declared_language(LanguageHints("py", (), ("ir",))) == "python"
    assert declared_language(LanguageHints(".txt", ("", "R"), ("python3",))) == "r"


def test_an_unknown_language_is_told_and_no_longer_than_a_name():
    assert declared_language(LanguageHints(languages=("", "  Wolfram Language  "))) == "wolfram language"
    assert declared_language(LanguageHints(languages=("x" * 5000,))) == "x" * 40


def test_the_table_agrees_with_the_other_languages_of_the_house_and_with_jupytext():
    percent = {each.extension for each in jupytext.formats.JUPYTEXT_FORMATS if each.format_name == "percent"}
    for language in NOTEBOOK_LANGUAGES:
        assert language_of(f"script{language.extension}") == language.name
        assert language.extension in percent
        assert language.extension == language.extension.lower()
    for field in ("name", "extension"):
        values = [getattr(language, field) for language in NOTEBOOK_LANGUAGES]
        assert len(set(values)) == len(values)
    spellings = [spelling for language in NOTEBOOK_LANGUAGES for spelling in language.spellings]
    assert len(set(spellings)) == len(spellings)
    for spelling in spellings:
        assert declared_language(LanguageHints(kernels=(f"{spelling.upper()} 4.1",))) is not None


def test_the_guess_is_right_on_the_shipped_notebooks(samples):
    languages = {}
    for name, data in samples.items():
        cells = read_notebook(data, LIMITS).cells
        languages[name] = guess_language("\n".join(cell.source for cell in cells if cell.kind == "code"))
    expected = {"newton_in_julia.ipynb": "julia", "seedlings_in_r.ipynb": "r"}
    assert {name: guess.language for name, guess in languages.items()} == {
        name: expected.get(name, "python") for name in samples
    }
    assert all(0.5 <= guess.probability <= 1 for guess in languages.values())


@pytest.mark.parametrize(("code", "label"), [("", "empty"), ("x", "txt")])
def test_what_is_too_short_is_no_language(code, label):
    guess = guess_language(code)
    assert (guess.label, guess.language) == (label, None)


def test_a_language_without_scripts_is_named_but_not_one_of_ours():
    guess = guess_language("SELECT name, count(*) FROM users JOIN orders USING (id) GROUP BY name ORDER BY 2;\n" * 5)
    assert (guess.label, guess.language) == ("sql", None)
