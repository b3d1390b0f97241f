"""The README tells the truth: its tree is the files, its commands exist, its links lead somewhere.

Renew the tree with: STARLOOM_RENEW=1 python -m pytest tests/architecture/test_readme.py
"""

import ast
import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN = "<!-- tree: held to the files by tests/architecture/test_readme.py -->\n"
END = "<!-- end of tree -->"
PACKAGES = ("flows", "components", "model", "data_contracts", "k8s")
ROOT_FILES = {
    "params.yaml": "what is computed: the small run that fits a laptop",
    "dvc.yaml": "the same pipeline for people who work with DVC",
    "prefect.yaml": "deployments: the whole run, evaluation, promotion, rollback",
    "pyproject.toml": "dependencies with their reasons, lint, types, import rules",
    "requirements.lock": "every dependency with its hashes",
    "Makefile": "run test check fix bench clean",
}
FOLDERS = {
    "params": "the published runs and two small ones, each laid over params.yaml",
    "tests": "the mirror of the tree, and tests/architecture for the rules of the house",
    "docs": "running, the platform on a cluster, adding a step, glossary, decisions",
    "benchmarks": "measured comparisons; `make bench`",
}


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0]


def _tree() -> str:
    lines: list[str] = []
    for package in PACKAGES:
        lines.append(f"{package}/  {_first_line(ROOT / package / '__init__.py').rstrip('.')}")
        modules = sorted((ROOT / package).rglob("*.py"), key=lambda path: (len(path.parts), path))
        for path in modules:
            if path.name != "__init__.py":
                name = path.relative_to(ROOT / package).as_posix()
                lines.append(f"  {name:<34} {_first_line(path)}")
    lines += [f"{name + '/':<36} {told}" for name, told in FOLDERS.items()]
    lines += [f"{name:<36} {told}" for name, told in ROOT_FILES.items()]
    return "```\n" + "\n".join(lines) + "\n```\n"


def test_the_tree_of_the_readme_is_the_tree_of_the_files() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    told, after = rest.split(END)
    if os.environ.get("STARLOOM_RENEW"):
        README.write_text(before + BEGIN + _tree() + END + after, encoding="utf-8")
        told = _tree()
    assert told == _tree(), "renew it: STARLOOM_RENEW=1 python -m pytest tests/architecture/test_readme.py"
    for name in (*ROOT_FILES, *FOLDERS):
        assert (ROOT / name).exists(), f"README names {name}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (README, *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_commands_of_the_readme_exist() -> None:
    text = README.read_text(encoding="utf-8")
    targets = set(re.findall(r"^\s+make (\w+)", text, flags=re.MULTILINE))
    assert targets == {"run", "test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)
    commands = set(re.findall(r"bin/starloom (\w+)", text)) | set(re.findall(r"`starloom (\w+)", text))
    assert {"complete", "lineage", "rollback", "status", "down"} <= commands
    program = (ROOT / "flows" / "command_line.py").read_text(encoding="utf-8")
    for command in commands:
        assert re.search(rf"def {command}\(|name=\"{command}\"", program), f"README names `starloom {command}`"
