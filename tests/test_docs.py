"""The documentation says what is so."""

import re
import subprocess
import sys

import pytest
from tests.conftest import ROOT

from druppel.taxonomy import Taxonomy

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_output_in_the_readme_is_current(run):
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1].strip().split("\n\n")
    printed = run("label", ROOT / "examples" / "antwoorden.xlsx", "--format", "list").stdout
    for block in shown:
        assert block in printed


def test_the_readme_python_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == "('telefonie',)\n"


def test_every_command_is_in_the_readme(run):
    listed = re.findall(r"^  (\w+)  ", run("--help").stdout, re.MULTILINE)
    assert {"label", "train"} <= set(listed)
    for command in listed:
        assert f"druppel {command}" in README


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "training/README.md"])
def test_links_and_paths_exist(document):
    path = ROOT / document
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_module_is_in_the_directory_table():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for module in (ROOT / "src" / "druppel").glob("*.py"):
        if module.name != "__init__.py":
            assert f"`{module.name}`" in table, module.name


def test_the_ci_script_runs_the_readme_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"sed -n '([^']+)'", script)
    found = subprocess.run(
        ["sed", "-n", pattern, str(ROOT / "README.md")], capture_output=True, text=True, check=True
    ).stdout
    assert ".venv/bin/pytest" in found
    assert found.count("\n") == 4


def test_the_datasheet_counts_every_leaf():
    datasheet = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    for label in (*Taxonomy.load().leaves, *Taxonomy.load().signals):
        assert f"| `{label.slug}` |" in datasheet


def test_doctests_are_collected():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", str(ROOT / "src")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "druppel.labeler.Labeler" in done.stdout
