"""The built wheel, installed away from the repository, works by itself."""

import json
import os
import subprocess
import sys
import venv
import zipfile

import pytest
from tests.conftest import ROOT

WANTED = (
    "model/model.json",
    "model/weights.npz",
    "model/encoder.onnx",
    "model/pieces.model",
    "model/encoder-seen.txt",
    "taxonomy.toml",
    "result.schema.json",
    "corpus/a01.jsonl",
    "cases/ironie.jsonl",
    "LEESMIJ.md",
    "review.html",
    "review.css",
    "review.js",
    "comparison.html.j2",
    "drift.html.j2",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_model_and_resources(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in WANTED:
        assert f"druppel/resources/{name}" in names
    assert "druppel/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "training/"))]


def test_the_installed_wheel_labels_a_sentence(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=500)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(tmp_path / "venv" / "bin" / "druppel"), "label", "-", "-q"],
        input="Drie kwartier in de wacht gehangen.\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert json.loads(done.stdout)["irritations"][0] == "telefonie"
    command = [str(tmp_path / "venv" / "bin" / "druppel"), "init", "project", "-q"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "project" / "meetset" / "meegeleverd.jsonl").stat().st_size > 100_000
