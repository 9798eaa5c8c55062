import json
import shutil

import numpy as np
import pytest

from druppel.errors import InputError, ModelError
from druppel.labeler import Labeler
from druppel.store import (
    ENCODER_FILES,
    FORMAT,
    load_encoder,
    load_model,
    round_weights,
    save_model,
)

GOOD_CALIBRATION = {kind: [1.0, 0.0] for kind in ("leaf", "category", "signal")}
FEATURES = {
    "word_ngrams": [1, 2],
    "char_ngrams": [2, 5],
    "min_texts": 2,
    "max_words": 100,
    "max_chars": 100,
}
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
    [("{", "damaged, not JSON"), ("[]", "format None"), ('{"format": 2}', "lists no files")],
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
        {"profiles": {}},
        {"profiles": {"anders": {}}},
        {"profiles": {"snel": {"calibration": {"leaf": []}, "doubt": 1.0}}},
        {"profiles": {"snel": {"calibration": GOOD_CALIBRATION, "doubt": "veel"}}},
        {"profiles": {"snel": {"calibration": GOOD_CALIBRATION, "doubt": float("nan")}}},
        {"profiles": {"snel": {"calibration": GOOD_CALIBRATION, "doubt": 10**400}}},
        {"features": {**FEATURES, "char_ngrams": [4, 2]}},
        {"features": {**FEATURES, "word_ngrams": [1.5, 2]}},
        {"features": {**FEATURES, "max_words": -5}},
        {"sha256": {"a\x00b": "0"}},
        {"sha256": {"a\ud800b": "0"}},
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


@pytest.fixture
def encoded(tiny_encoded, tmp_path):
    return shutil.copytree(tiny_encoded.folder, tmp_path / "met-encoder")


def test_an_encoder_survives_the_round_trip(encoded, tmp_path):
    first = load_model(encoded)
    assert first.profile == "nauwkeurig"
    save_model(first, tmp_path / "kopie", {})
    for name in ENCODER_FILES:
        assert (tmp_path / "kopie" / name).read_bytes() == (encoded / name).read_bytes()
    second = load_model(tmp_path / "kopie")
    assert list(Labeler(first).label_many(TEXTS)) == list(Labeler(second).label_many(TEXTS))


def test_the_fast_profile_does_not_need_the_encoder(encoded):
    (encoded / "encoder.onnx").unlink()
    assert load_model(encoded, "snel").profile == "snel"
    with pytest.raises(ModelError, match=r"encoder\.onnx: missing"):
        load_model(encoded)


def test_a_model_opened_without_its_encoder_is_kept_without(encoded, tmp_path):
    save_model(load_model(encoded, "snel"), tmp_path / "kopie", {})
    assert load_model(tmp_path / "kopie").profile == "snel"


def test_a_deeply_nested_manifest_is_told(folder):
    (folder / "model.json").write_text('{"a":' * 100_000)
    with pytest.raises(ModelError, match="damaged, not JSON"):
        load_model(folder)


def test_a_profile_that_is_not_there_is_told(folder):
    assert load_model(folder).profile == "snel"
    with pytest.raises(ModelError, match="no profile 'nauwkeurig'"):
        load_model(folder, "nauwkeurig")
    with pytest.raises(InputError, match="must be one of nauwkeurig, snel, got 'snelst'"):
        load_model(folder, "snelst")


def test_a_damaged_encoder_is_told(encoded, tmp_path):
    with pytest.raises(ModelError, match="no encoder there"):
        load_encoder(tmp_path)
    (encoded / "encoder.onnx").write_bytes(b"geen netwerk")
    with pytest.raises(ModelError, match="encoder is damaged"):
        load_encoder(encoded)
