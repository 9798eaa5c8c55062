import json
import shutil

import numpy as np
import pytest

from druppel.errors import ModelError
from druppel.labeler import Labeler
from druppel.store import FORMAT, load_model, round_weights, save_model

TEXTS = [
    "een uur in de rij gestaan",
    "Heerlijk gegeten, maar lange rij bij de kassa.",
    "ik kom nooit meer",
    "iets heel anders",
]


@pytest.fixture
def folder(tiny_trained, tmp_path):
    return shutil.copytree(tiny_trained.folder, tmp_path / "model")


def test_round_trip_labels_alike(folder, tmp_path):
    first = load_model(folder)
    save_model(first, tmp_path / "kopie", {})
    second = load_model(tmp_path / "kopie")
    assert list(Labeler(first).label_many(TEXTS)) == list(Labeler(second).label_many(TEXTS))


def test_the_folder_is_plain_data(folder):
    names = {path.name for path in folder.iterdir()}
    assert {
        "model.json",
        "weights.npz",
        "taxonomy.toml",
        "config.toml",
        "metrics.json",
        "README.md",
    } <= names
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fi" for name in arrays.files)


def test_an_existing_folder_is_kept_without_force(folder):
    model = load_model(folder)
    before = (folder / "model.json").read_bytes()
    with pytest.raises(ModelError, match="--force"):
        save_model(model, folder, {})
    assert (folder / "model.json").read_bytes() == before
    save_model(model, folder, {}, force=True)
    assert not (folder / "metrics.json").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_every_damaged_file_is_named(folder):
    for path in sorted(folder.iterdir()):
        if path.name == "model.json":
            continue
        content = path.read_bytes()
        path.write_bytes(content + b"x")
        with pytest.raises(ModelError, match=f"{path.name}: damaged"):
            load_model(folder)
        path.unlink()
        with pytest.raises(ModelError, match=f"{path.name}: missing"):
            load_model(folder)
        path.write_bytes(content)
    load_model(folder)


def test_another_format_is_refused(folder):
    manifest = json.loads((folder / "model.json").read_text())
    manifest["format"] = FORMAT + 1
    (folder / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=f"format {FORMAT + 1}; .* reads format {FORMAT}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "damaged, not JSON"), ("[]", "format None"), ('{"format": 1}', "lists no files")],
)
def test_a_broken_manifest_is_told(folder, content, words):
    (folder / "model.json").write_text(content)
    with pytest.raises(ModelError, match=words):
        load_model(folder)


def test_a_manifest_cannot_reach_outside_its_folder(folder):
    manifest = json.loads((folder / "model.json").read_text())
    manifest["sha256"]["../geheim.txt"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="outside the model folder"):
        load_model(folder)


def test_no_model_there(tmp_path):
    with pytest.raises(ModelError, match="no model there"):
        load_model(tmp_path / "niets")


def test_rounding_error_is_bounded():
    weights = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32)
    weights[2] = 0
    integers, scale = round_weights(weights)
    error = np.abs(integers * scale[:, None] - weights)
    assert (error <= scale[:, None] / 2 + 1e-6).all()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"sentiments": ["boos"]},
        {"features": None},
        {"features": {}},
        {"calibration": {"leaf": []}},
        {"calibration": {kind: ["a", "b"] for kind in ("leaf", "category", "signal")}},
        {"name": 3},
    ],
)
def test_a_manifest_with_odd_values_is_told(folder, change):
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ModelError, match="not those of a model"):
        load_model(folder)


def test_force_replaces_models_only(folder, tmp_path):
    model = load_model(folder)
    other = tmp_path / "mijn"
    other.mkdir()
    (other / "belangrijk.txt").write_text("bewaren")
    with pytest.raises(ModelError, match="is no model"):
        save_model(model, other, {}, force=True)
    assert (other / "belangrijk.txt").read_text() == "bewaren"
