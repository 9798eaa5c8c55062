"""Keep a model in a folder of plain data, and read it back: the only place that does.

Opening a model runs no code from it: text, JSON and arrays without pickles. Every file's
checksum stands in the manifest and is checked first.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from druppel.errors import ModelError, TaxonomyError
from druppel.features import TextFeatures
from druppel.model import KINDS, Calibration, LabelSpace, Model, MultilabelLogistic
from druppel.result import SENTIMENTS
from druppel.taxonomy import Taxonomy

FORMAT = 1
MANIFEST = "model.json"
_WEIGHTS = "weights.npz"
_TAXONOMY = "taxonomy.toml"
_VOCABULARIES = ("words", "chars", "questions")
_QUANTA = 127


def save_model(model: Model, folder: Path, extra: dict[str, str], *, force: bool = False) -> None:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    model : Model
    folder : Path
    extra : dict
        Further text files by name, such as the config, the metrics and the model card.
    force : bool, default=False
        Replace a folder that exists.

    Raises
    ------
    ModelError
        If the folder exists and `force` is not set, or cannot be written.
    """
    if folder.exists() and not force:
        msg = f"{folder}: exists already. Choose another output, or replace it with --force."
        raise ModelError(msg)
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        msg = f"{folder}: is no model, so --force leaves it alone. Choose another output."
        raise ModelError(msg)
    files: dict[str, bytes] = {name: text.encode() for name, text in extra.items()}
    files[_TAXONOMY] = model.taxonomy.source.encode()
    for kind, terms in model.features.vocabularies().items():
        files[f"{kind}.txt"] = "".join(f"{term}\n" for term in terms).encode()
    files[_WEIGHTS] = _pack(_arrays(model))
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "features": _plain(model.features.get_params()),
        "labels": list(model.space.names),
        "sentiments": list(SENTIMENTS),
        "calibration": {
            kind: [model.calibration.slope[kind], model.calibration.intercept[kind]]
            for kind in KINDS
        },
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    files[MANIFEST] = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        msg = f"{folder}: cannot write there ({error.strerror})."
        raise ModelError(msg) from None
    try:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        temporary.chmod(0o755)
        if folder.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            folder.replace(retired / folder.name)
            temporary.replace(folder)
            shutil.rmtree(retired)
        else:
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_model(folder: str | Path) -> Model:
    """Read a model folder.

    Raises
    ------
    ModelError
        If it is no model folder, is of another format, or is damaged; the message says which
        file and what to do.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    data = {name: _read_file(folder, name, sha) for name, sha in manifest["sha256"].items()}
    try:
        taxonomy = Taxonomy.parse(data[_TAXONOMY].decode(), name=str(folder / _TAXONOMY))
        space = LabelSpace.of(taxonomy)
        arrays = _unpack(data[_WEIGHTS])
        params = manifest["features"]
        features = TextFeatures().set_params(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()}
        )
        features.restore(
            {k: data[f"{k}.txt"].decode().split("\n")[:-1] for k in _VOCABULARIES},
            {"words": arrays["word_idf"], "chars": arrays["char_idf"]},
        )
        calibration = Calibration(
            slope={kind: manifest["calibration"][kind][0] for kind in KINDS},
            intercept={kind: manifest["calibration"][kind][1] for kind in KINDS},
        )
        labels = _restore_labels(arrays, len(space.names))
        sentiment = _restore_sentiment(arrays)
        model = Model(
            name=manifest["name"],
            version=manifest["version"],
            taxonomy=taxonomy,
            features=features,
            labels=labels,
            sentiment=sentiment,
            calibration=calibration,
            thresholds=arrays["thresholds"],
        )
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, TaxonomyError) as error:
        msg = f"{folder}: the parts of this model do not fit together ({type(error).__name__}). "
        raise ModelError(msg + "Get it anew or train it again.") from None
    if list(space.names) != manifest["labels"]:
        msg = f"{folder}: the labels do not match the taxonomy. Train the model again."
        raise ModelError(msg)
    return model


def round_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantise each row to 8 bits; return the integers and the rows' scales.

    A hundred labels times a hundred thousand terms would weigh 40 MB as floats. A row's
    largest weight sets its scale, so the error of a weight is at most 0.4 % of that.
    """
    scale = np.abs(weights).max(axis=1) / _QUANTA
    scale[scale == 0] = 1.0
    return np.rint(weights / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def _arrays(model: Model) -> dict[str, np.ndarray]:
    label_weights, label_scale = round_weights(model.labels.coef_)
    sentiment_weights, sentiment_scale = round_weights(model.sentiment.coef_)
    return {
        "word_idf": model.features.word_idf_.idf_.astype(np.float32),
        "char_idf": model.features.char_idf_.idf_.astype(np.float32),
        "label_weights": label_weights,
        "label_scale": label_scale,
        "label_intercept": model.labels.intercept_.astype(np.float32),
        "sentiment_weights": sentiment_weights,
        "sentiment_scale": sentiment_scale,
        "sentiment_intercept": model.sentiment.intercept_.astype(np.float32),
        "thresholds": model.thresholds.astype(np.float32),
    }


def _restore_labels(arrays: dict[str, np.ndarray], n_labels: int) -> MultilabelLogistic:
    classifier = MultilabelLogistic()
    classifier.multilabel_ = True
    classifier.coef_ = _by_column(arrays["label_weights"], arrays["label_scale"])
    classifier.intercept_ = arrays["label_intercept"]
    classifier.classes_ = np.arange(n_labels)
    classifier.n_features_in_ = classifier.coef_.shape[1]
    if classifier.coef_.shape[0] != n_labels or arrays["thresholds"].shape != (n_labels,):
        msg = "labels"
        raise ValueError(msg)
    return classifier


def _by_column(integers: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Undo `round_weights`, laid out so that a product with sparse rows copies nothing."""
    return np.asfortranarray(integers * scale[:, None])


def _restore_sentiment(arrays: dict[str, np.ndarray]) -> LogisticRegression:
    classifier = LogisticRegression()
    classifier.coef_ = _by_column(arrays["sentiment_weights"], arrays["sentiment_scale"])
    classifier.intercept_ = arrays["sentiment_intercept"]
    classifier.classes_ = np.arange(len(SENTIMENTS))
    classifier.n_features_in_ = classifier.coef_.shape[1]
    return classifier


def _pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Write arrays as an npz archive whose bytes depend on nothing but the arrays."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            # The default date of ZipInfo is a constant.
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 9
            )
    return packed.getvalue()


def _unpack(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {str(name): archive[name] for name in archive.files}


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError:
        msg = f"{folder}: no model there (it has no {MANIFEST}). Give the path of a model folder."
        raise ModelError(msg) from None
    except ValueError:
        msg = f"{path}: damaged, not JSON. Get the model anew or train it again."
        raise ModelError(msg) from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        msg = (
            f"{path}: model format {found!r}; this version of Druppel reads format {FORMAT}. "
            "Train the model again, or install the version it was made with."
        )
        raise ModelError(msg)
    if not isinstance(manifest.get("sha256"), dict):
        msg = f"{path}: damaged, it lists no files. Get the model anew or train it again."
        raise ModelError(msg)
    if not _is_sound(manifest):
        msg = f"{path}: damaged, its values are not those of a model. Get it anew or train again."
        raise ModelError(msg)
    return manifest


def _is_sound(manifest: dict[str, Any]) -> bool:
    """Check the types of what the manifest says; the other files have checksums."""
    calibration = manifest.get("calibration")
    features = manifest.get("features")
    defaults = TextFeatures().get_params()
    return (
        all(isinstance(manifest.get(key), str) for key in ("name", "version"))
        and isinstance(manifest.get("labels"), list)
        and manifest.get("sentiments") == list(SENTIMENTS)
        and isinstance(calibration, dict)
        and all(_are_numbers(calibration.get(kind), 2) for kind in KINDS)
        and isinstance(features, dict)
        and set(features) == set(defaults)
        and all(
            _are_numbers(features[key], 2)
            if isinstance(default, tuple)
            else _are_numbers([features[key]], 1)
            for key, default in defaults.items()
        )
    )


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) for value in values)
    )


def _read_file(folder: Path, name: str, sha256: str) -> bytes:
    path = folder / name
    if Path(name).name != name:
        msg = f"{folder / MANIFEST}: names a file outside the model folder. Do not use this model."
        raise ModelError(msg)
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: missing from the model ({error.strerror}). Get it anew or train it again."
        raise ModelError(msg) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        msg = f"{path}: damaged, its checksum differs. Get the model anew or train it again."
        raise ModelError(msg)
    return data


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(params.items())}
