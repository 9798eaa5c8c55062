"""Keep a model in a folder of plain data, and read it back: the only place that does.

Opening a model runs no code from it: text, JSON, arrays without pickles, and an encoder's network
and vocabulary, which ONNX Runtime and SentencePiece parse. Every file's checksum stands in the
manifest and is checked first.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from druppel.encoder import Encoder
from druppel.errors import InputError, ModelError, TaxonomyError
from druppel.features import TextFeatures
from druppel.model import (
    ACCURATE,
    FAST,
    KINDS,
    MODES,
    PROFILES,
    Calibration,
    Decisions,
    Heads,
    LabelSpace,
    Model,
    MultilabelLogistic,
)
from druppel.result import SENTIMENTS
from druppel.taxonomy import Taxonomy

FORMAT = 2
MANIFEST = "model.json"
_WEIGHTS = "weights.npz"
_TAXONOMY = "taxonomy.toml"
ENCODER_FILES = NETWORK, PIECES, SEEN = ("encoder.onnx", "pieces.model", "encoder-seen.txt")
"""Files of an encoder, in a model folder or one of their own."""
_VOCABULARIES = ("words", "chars", "context")
_QUANTA = 127
_HUGE = 1e9  # no number of a manifest comes near


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
    if model.encoder is not None:
        files[NETWORK], files[PIECES] = model.encoder.network, model.encoder.pieces
        files[SEEN] = "".join(f"{one}\n" for one in sorted(model.encoder.seen)).encode()
    profiles = [FAST] if model.encoder is None else list(model.decisions)
    manifest = {
        "format": FORMAT,
        "name": model.name,
        "version": model.version,
        "features": _plain(model.features.get_params()),
        "labels": list(model.space.names),
        "sentiments": list(SENTIMENTS),
        "profiles": {
            profile: {
                "calibration": {
                    kind: [made.calibration.slope[kind], made.calibration.intercept[kind]]
                    for kind in KINDS
                },
                "doubt": made.doubt,
            }
            for profile, made in ((name, model.decisions[name]) for name in profiles)
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


def load_encoder(folder: str | Path) -> Encoder:
    """Read the encoder of a model folder, or of a folder that holds nothing else.

    Raises
    ------
    ModelError
        If there is none, or a damaged one.
    """
    folder = Path(folder)
    data = []
    for name in ENCODER_FILES:
        try:
            data.append((folder / name).read_bytes())
        except OSError as error:
            msg = f"{folder / name}: no encoder there ({error.strerror}). Check the path."
            raise ModelError(msg) from None
    try:
        return _restore_encoder(*data)
    except ValueError:
        msg = f"{folder}: its encoder is damaged. Get it anew."
        raise ModelError(msg) from None


def load_model(folder: str | Path, profile: str | None = None) -> Model:
    """Read a model folder.

    Parameters
    ----------
    folder : str or Path
    profile : {"nauwkeurig", "snel"}, optional
        By default ``nauwkeurig`` where the model has an encoder. For ``snel`` the encoder is
        not even read.

    Raises
    ------
    ModelError
        If it is no model folder, is of another format, lacks the profile, or is damaged; the
        message says which file and what to do.
    InputError
        If there is no such profile.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    profile = _choose_profile(folder, manifest, profile)
    wanted = dict(manifest["sha256"])
    if profile == FAST:
        for name in ENCODER_FILES:
            wanted.pop(name, None)
    data = {name: _read_file(folder, name, sha) for name, sha in wanted.items()}
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
        accurate = profile == ACCURATE
        model = Model(
            name=manifest["name"],
            version=manifest["version"],
            taxonomy=taxonomy,
            features=features,
            sparse=_restore_heads("sparse", arrays, len(space.names)),
            encoder=_restore_encoder(*(data[name] for name in ENCODER_FILES)) if accurate else None,
            dense=_restore_heads("dense", arrays, len(space.names)) if accurate else None,
            decisions={
                name: _restore_decisions(name, said, arrays, len(space.names))
                for name, said in manifest["profiles"].items()
            },
        )
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, TaxonomyError) as error:
        msg = f"{folder}: the parts of this model do not fit together ({type(error).__name__}). "
        raise ModelError(msg + "Get it anew or train it again.") from None
    if list(space.names) != manifest["labels"]:
        msg = f"{folder}: the labels do not match the taxonomy. Train the model again."
        raise ModelError(msg)
    return model


def _restore_encoder(network: bytes, pieces: bytes, seen: bytes) -> Encoder:
    return Encoder(network, pieces, seen.decode().split())


def _choose_profile(folder: Path, manifest: dict[str, Any], profile: str | None) -> str:
    if profile is None:
        return ACCURATE if ACCURATE in manifest["profiles"] else FAST
    if profile not in PROFILES:
        msg = f"'profile' must be one of {', '.join(PROFILES)}, got {profile!r}."
        raise InputError(msg)
    if profile not in manifest["profiles"]:
        msg = (
            f"{folder}: this model has no profile {profile!r}, for it has no encoder. "
            f"Use {FAST!r}, or train it with one."
        )
        raise ModelError(msg)
    return profile


def round_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantise each row to 8 bits; return the integers and the rows' scales.

    A hundred labels times a hundred thousand terms would weigh 40 MB as floats. A row's
    largest weight sets its scale, so the error of a weight is at most 0.4 % of that.
    """
    scale = np.abs(weights).max(axis=1) / _QUANTA
    scale[scale == 0] = 1.0
    return np.rint(weights / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def rounded(model: Model) -> Model:
    """Return a model with the weights that it will have once it was written and read back."""

    def heads(prefix: str, made: Heads) -> Heads:
        return _restore_heads(prefix, _head_arrays(prefix, made), len(model.space.names))

    return replace(
        model,
        sparse=heads("sparse", model.sparse),
        dense=None if model.dense is None else heads("dense", model.dense),
    )


def _arrays(model: Model) -> dict[str, np.ndarray]:
    arrays = {
        "word_idf": model.features.word_idf_.idf_.astype(np.float32),
        "char_idf": model.features.char_idf_.idf_.astype(np.float32),
        **_head_arrays("sparse", model.sparse),
    }
    if model.dense is not None:
        arrays.update(_head_arrays("dense", model.dense))
    for profile, made in model.decisions.items():
        for mode, thresholds in made.thresholds.items():
            arrays[f"thresholds_{profile}_{mode}"] = thresholds.astype(np.float32)
    return arrays


def _head_arrays(prefix: str, heads: Heads) -> dict[str, np.ndarray]:
    arrays = {}
    for part, regression in (("label", heads.labels), ("sentiment", heads.sentiment)):
        weights, scale = round_weights(regression.coef_)
        arrays[f"{prefix}_{part}_weights"] = weights
        arrays[f"{prefix}_{part}_scale"] = scale
        arrays[f"{prefix}_{part}_intercept"] = regression.intercept_.astype(np.float32)
    return arrays


def _restore_heads(prefix: str, arrays: dict[str, np.ndarray], n_labels: int) -> Heads:
    labels = MultilabelLogistic()
    labels.multilabel_ = True
    labels.classes_ = np.arange(n_labels)
    sentiment = LogisticRegression()
    sentiment.classes_ = np.arange(len(SENTIMENTS))
    for part, regression in (("label", labels), ("sentiment", sentiment)):
        regression.coef_ = _by_column(
            arrays[f"{prefix}_{part}_weights"], arrays[f"{prefix}_{part}_scale"]
        )
        regression.intercept_ = arrays[f"{prefix}_{part}_intercept"]
        regression.n_features_in_ = regression.coef_.shape[1]
        if regression.coef_.shape[0] != len(regression.classes_):
            msg = "labels"
            raise ValueError(msg)
    return Heads(labels, sentiment)


def _restore_decisions(
    profile: str, said: dict[str, Any], arrays: dict[str, np.ndarray], n_labels: int
) -> Decisions:
    thresholds = {mode: arrays[f"thresholds_{profile}_{mode}"] for mode in MODES}
    if any(values.shape != (n_labels,) for values in thresholds.values()):
        msg = "thresholds"
        raise ValueError(msg)
    return Decisions(
        calibration=Calibration(
            slope={kind: said["calibration"][kind][0] for kind in KINDS},
            intercept={kind: said["calibration"][kind][1] for kind in KINDS},
        ),
        thresholds=thresholds,
        doubt=said["doubt"],
    )


def _by_column(integers: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Undo `round_weights`, laid out so that a product with sparse rows copies nothing."""
    return np.asfortranarray(integers * scale[:, None])


def _pack(arrays: dict[str, np.ndarray]) -> bytes:
    """Write arrays as an npz archive whose bytes depend on nothing but the arrays."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            # The default date of ZipInfo is a constant.
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 6
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
    except (ValueError, RecursionError):
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
    profiles = manifest.get("profiles")
    features = manifest.get("features")
    defaults = TextFeatures().get_params()
    return (
        all(isinstance(manifest.get(key), str) for key in ("name", "version"))
        and all(name.isprintable() for name in manifest["sha256"])
        and isinstance(manifest.get("labels"), list)
        and manifest.get("sentiments") == list(SENTIMENTS)
        and isinstance(profiles, dict)
        and FAST in profiles
        and set(profiles) <= set(PROFILES)
        and all(
            isinstance(said, dict)
            and isinstance(said.get("calibration"), dict)
            and all(_are_numbers(said["calibration"].get(kind), 2) for kind in KINDS)
            and _are_numbers([said.get("doubt")], 1)
            for said in profiles.values()
        )
        and isinstance(features, dict)
        and set(features) == set(defaults)
        and all(
            _are_sizes(features[key], 2)
            if isinstance(default, tuple)
            else _are_sizes([features[key]], 1)
            for key, default in defaults.items()
        )
    )


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and abs(value) < _HUGE for value in values)
    )


def _are_sizes(values: Any, count: int) -> bool:
    """Whether these are whole numbers from 1 that do not fall: n-gram ranges and counts."""
    return (
        _are_numbers(values, count)
        and all(type(value) is int and value >= 1 for value in values)
        and values == sorted(values)
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
