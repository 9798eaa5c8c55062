"""From a configuration to a model folder: split, fit, calibrate, set thresholds, evaluate.

The same configuration, corpus and seed give the same folder, byte for byte, on the same kind of
processor.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, cpu_count, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from druppel.cases import Case, read_cases, run_cases
from druppel.corpus import LabelledText, digest, groups, read_corpus, text_digest
from druppel.encoder import Encoder, Vectors
from druppel.errors import ConfigError
from druppel.evaluation import (
    Evaluation,
    ProfileFigures,
    calibration_error,
    evaluate,
    review_curve,
)
from druppel.features import Batch, TextFeatures
from druppel.labeler import Labeler
from druppel.model import (
    ACCURATE,
    BALANCED,
    FAST,
    KINDS,
    MODES,
    Calibration,
    Decisions,
    Heads,
    LabelSpace,
    Model,
    MultilabelLogistic,
    View,
    combine,
    expected_errors,
)
from druppel.model_card import model_card
from druppel.result import SENTIMENTS
from druppel.segment import Segmenter
from druppel.store import load_encoder, load_model, save_model
from druppel.targets import LabelledRows, cut_texts, text_labels
from druppel.taxonomy import Taxonomy

Progress = Callable[[str], None]

_PARTS = ("texts", "clauses", "sentiments")

_MAX_C = 10_000.0
_NEVER = -30.0  # log-odds of a sentiment that no training text has
_THRESHOLDS = np.round(np.arange(0.06, 0.81, 0.02), 2)
FINE_THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)
_GENEROUS_RECALL = _STRICT_PRECISION = 0.9
# Fewer texts that the encoder has not seen are too few to set thresholds by.
_MIN_UNSEEN = 300
_MOSTLY = 0.5


@dataclass(frozen=True)
class Config:
    """A complete training configuration; nothing has a hidden default.

    Attributes
    ----------
    name, version : str
        Of the model.
    output : Path
        Folder to write.
    taxonomy : Path
    corpus : Path
        A JSONL file or a folder of them.
    encoder : Path or None
        Folder with an encoder, such as that of another model; written as ``""`` for none.
    cases : Path or None
        Challenge cases to report in the model card; written as ``""`` for none.
    group_by_author : bool
        Keep all texts of one author on the same side of every split.
    test_share : float
        Share of the texts that is never trained on and gives the figures.
    folds : int
        Of the cross-validation that calibrates and sets thresholds.
    random_state : int
    word_ngrams, char_ngrams : tuple of (int, int)
    min_texts, max_words, max_chars : int
        See `TextFeatures`.
    aspect_c, signal_c, sentiment_c : float
        Inverse penalties of the three kinds of regression on words and characters.
    dense_c : float
        Inverse penalty of the regressions on the encoder's vectors.
    min_positives : int
        Labels with fewer examples are not learned.
    review_share : float
        Share of the texts that are marked for review: those with the most doubt.
    threshold_shrinkage : float
        Number of examples at which a label's own threshold weighs as much as the one of its
        kind; small labels follow their kind.
    """

    name: str
    version: str
    output: Path
    taxonomy: Path
    corpus: Path
    encoder: Path | None
    cases: Path | None
    group_by_author: bool
    test_share: float
    folds: int
    random_state: int
    word_ngrams: tuple[int, int]
    char_ngrams: tuple[int, int]
    min_texts: int
    max_words: int
    max_chars: int
    aspect_c: float
    signal_c: float
    sentiment_c: float
    dense_c: float
    min_positives: int
    review_share: float
    threshold_shrinkage: float
    source: str

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read a TOML file; its paths are relative to the folder it stands in.

        Raises
        ------
        ConfigError
            If it is missing, incomplete, has an unknown key or an impossible value.
        """
        path = Path(path)
        try:
            source = path.read_text(encoding="utf-8-sig")
            data = tomllib.loads(source)
        except OSError as error:
            msg = f"{path}: cannot read the configuration ({error.strerror}). Check the path."
            raise ConfigError(msg) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"{path}: not valid TOML: {error}."
            raise ConfigError(msg) from None
        hints = get_type_hints(cls)
        wanted = [field.name for field in fields(cls) if field.name != "source"]
        for key in data:
            if key not in wanted:
                close = get_close_matches(key, wanted, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                msg = f"{path}: unknown key {key!r}{hint}"
                raise ConfigError(msg)
        missing = [key for key in wanted if key not in data]
        if missing:
            msg = f"{path}: lacks {', '.join(missing)}. Every parameter must be given."
            raise ConfigError(msg)
        values = {key: _config_value(path, key, data[key], hints[key]) for key in wanted}
        config = cls(source=source, **values)
        config._check(path)
        return config

    def _check(self, path: Path) -> None:
        rules = {
            "test_share": (0 < self.test_share < 0.9, "between 0 and 0.9"),
            "folds": (self.folds >= 2, "at least 2"),
            "random_state": (0 <= self.random_state < 2**32, "between 0 and 4294967295"),
            "aspect_c": (0 < self.aspect_c <= _MAX_C, f"above 0 and at most {_MAX_C:g}"),
            "signal_c": (0 < self.signal_c <= _MAX_C, f"above 0 and at most {_MAX_C:g}"),
            "sentiment_c": (0 < self.sentiment_c <= _MAX_C, f"above 0 and at most {_MAX_C:g}"),
            "dense_c": (0 < self.dense_c <= _MAX_C, f"above 0 and at most {_MAX_C:g}"),
            "review_share": (0 <= self.review_share < 1, "at least 0 and below 1"),
            "min_texts": (self.min_texts >= 1, "at least 1"),
            "max_words": (self.max_words >= 1, "at least 1"),
            "max_chars": (self.max_chars >= 1, "at least 1"),
            "min_positives": (self.min_positives >= 1, "at least 1"),
            "threshold_shrinkage": (self.threshold_shrinkage >= 0, "0 or more"),
            "word_ngrams": (1 <= self.word_ngrams[0] <= self.word_ngrams[1], "[low, high]"),
            "char_ngrams": (1 <= self.char_ngrams[0] <= self.char_ngrams[1], "[low, high]"),
        }
        for key, (good, wanted) in rules.items():
            if not good:
                msg = f"{path}: '{key}' must be {wanted}, got {getattr(self, key)!r}."
                raise ConfigError(msg)


def _config_value(path: Path, key: str, value: Any, hint: Any) -> Any:
    """Check a value's type, and resolve paths against the configuration's folder."""
    if hint == Path | None and value == "":
        return None
    if hint in (Path, Path | None) and isinstance(value, str):
        return (path.parent / value).resolve()
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    is_pair = isinstance(value, list) and [type(v) for v in value] == [int, int]
    if hint == tuple[int, int] and is_pair:
        return tuple(value)
    msg = f"{path}: '{key}' must be {getattr(hint, '__name__', hint)}, got {value!r}."
    raise ConfigError(msg)


@dataclass(frozen=True)
class Trained:
    """What `train` made: the folder and the figures on texts it has never seen."""

    folder: Path
    evaluation: Evaluation
    n_train: int
    n_test: int


def train(config: Config, *, force: bool = False, progress: Progress = lambda _: None) -> Trained:
    """Train a model and write its folder.

    Parameters
    ----------
    config : Config
    force : bool, default=False
        Replace an output folder that exists.
    progress : callable, optional
        Told in one line what is being done.

    Raises
    ------
    CorpusError, TaxonomyError, ConfigError, ModelError
        If corpus, cases, taxonomy, encoder or output folder cannot be used.
    """
    taxonomy = Taxonomy.load(config.taxonomy)
    texts = read_corpus(config.corpus, taxonomy)
    if config.output.exists() and not force:
        msg = f"{config.output}: exists already. Choose another output, or use --force."
        raise ConfigError(msg)
    cases = [] if config.cases is None else read_cases(config.cases, taxonomy)
    encoder = None if config.encoder is None else load_encoder(config.encoder)
    for source in (config.taxonomy, config.corpus, config.cases):
        if source is not None and (config.output == source or config.output in source.parents):
            msg = f"{config.output}: holds {source.name}; choose another output."
            raise ConfigError(msg)
    progress(f"{len(texts)} texts read")
    seen = _seen(texts, encoder)
    group, test = split(texts, config, config.test_share, seen)
    if not test.any() or test.all():
        msg = (
            f"{config.corpus}: cannot hold out {config.test_share:.0%}: {group.max() + 1} "
            "independent groups of texts. Add texts, or set group_by_author = false."
        )
        raise ConfigError(msg)
    # A held-out author's "top!" may stand in a text that the encoder has seen.
    train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test & ~seen)
    n_groups = len(set(group[train_rows].tolist()))
    if n_groups < config.folds:
        msg = (
            f"{config.corpus}: {n_groups} independent groups of texts to train on, {config.folds} "
            "needed. Add texts, or set group_by_author = false when one person wrote them all."
        )
        raise ConfigError(msg)
    progress(f"{len(train_rows)} to train on, {len(test_rows)} held out")

    segmenter = Segmenter()
    space = LabelSpace.of(taxonomy)
    rows = LabelledRows.of([texts[i] for i in train_rows], space, segmenter)
    vectors = None
    if encoder is not None:
        progress("reading the texts with the encoder")
        vectors = encoder.encode(rows.batch)
    splits = list(GroupKFold(config.folds).split(train_rows, groups=group[train_rows]))
    # Whole fits run side by side, each in a process of its own: the outcome of a fit cannot
    # depend on its neighbours.
    jobs = [delayed(_view_held_out)(rows, vectors, config, *split) for split in splits]
    jobs.append(delayed(_fit)(rows, vectors, config))
    outcomes = Parallel(n_jobs=min(cpu_count(), len(jobs)), return_as="generator")(jobs)
    by_fold: list[dict[str, View]] = []
    for number in range(1, config.folds + 1):
        by_fold.append(next(outcomes))
        progress(f"cross-validation {number} of {config.folds} done")
    fitted: _Fitted = next(outcomes)
    held_out = np.concatenate([rows_out for _, rows_out in splits])
    decisions = {}
    for profile in by_fold[0]:
        view = View(*(np.vstack([getattr(v[profile], part) for v in by_fold]) for part in _PARTS))
        part = rows.subset(held_out)
        if profile == ACCURATE and encoder is not None:
            fresh = ~seen[train_rows][held_out]
            if fresh.sum() >= _MIN_UNSEEN:
                view, part = _only(view, part, fresh)
            else:
                progress("too few texts that the encoder has not seen: calibrated on all")
        decisions[profile] = decide(
            view,
            part,
            space,
            threshold_shrinkage=config.threshold_shrinkage,
            review_share=config.review_share,
        )
    model = Model(
        name=config.name,
        version=config.version,
        taxonomy=taxonomy,
        features=fitted.features,
        sparse=fitted.sparse,
        encoder=encoder,
        dense=fitted.dense,
        decisions=decisions,
    )
    progress("evaluation")
    return _write(model, texts, train_rows, test_rows, cases, config, force=force)


def _seen(texts: Sequence[LabelledText], encoder: Encoder | None) -> np.ndarray:
    """Mark the texts that the encoder was fine-tuned on; it knows their labels too well."""
    if encoder is None:
        return np.zeros(len(texts), dtype=bool)
    return np.array([text_digest(text.text) in encoder.seen for text in texts])


def _only(view: View, rows: LabelledRows, kept: np.ndarray) -> tuple[View, LabelledRows]:
    """Keep some of the texts."""
    clauses = kept[rows.batch.owner]
    part = View(view.texts[kept], view.clauses[clauses], view.sentiments[kept])
    return part, rows.subset(np.flatnonzero(kept))


def _write(
    model: Model,
    texts: Sequence[LabelledText],
    train_rows: np.ndarray,
    test_rows: np.ndarray,
    demanded: Sequence[Case],
    config: Config,
    *,
    force: bool,
) -> Trained:
    """Write the folder, evaluating what was written rather than what was in memory.

    The stored weights are rounded, so the figures must be those of the rounded model: the
    folder is written, read back, evaluated and written again with its figures.
    """
    held_out = [texts[i] for i in test_rows]
    files = {"config.toml": config.source}
    staging = config.output.with_name(f".{config.output.name}.staging")
    save_model(model, staging, files, force=True)
    try:
        batch = cut_texts(held_out, Segmenter())
        profiles, cases = {}, {}
        for profile in model.decisions:
            written = load_model(staging, profile)
            profiles[profile] = _measure(written, held_out, batch, config)
            if demanded:
                cases[profile] = run_cases(demanded, Labeler(written))
        main = profiles.get(ACCURATE, profiles[FAST])
        metrics = {
            "profiles": {name: figures.to_dict() for name, figures in profiles.items()},
            "cases": {name: report.to_dict() for name, report in cases.items()},
            "n_train": len(train_rows),
            "n_test": len(test_rows),
            "n_seen_by_encoder": int(_seen(texts, model.encoder).sum()),
            "test_ids": [t.id for t in held_out],
            "corpus_sha256": digest(texts),
            "taxonomy_sha256": model.taxonomy.digest,
        }
        files["metrics.json"] = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
        files["README.md"] = model_card(model, texts, profiles, cases, metrics)
        save_model(model, config.output, files, force=force)
    finally:
        _remove(staging)
    return Trained(config.output, main.modes[BALANCED], len(train_rows), len(test_rows))


def _measure(
    model: Model, gold: Sequence[LabelledText], batch: Batch, config: Config
) -> ProfileFigures:
    """Figures of one profile in every mode, with its calibration and its review curve."""
    found = model.score(batch)
    columns = model.space.slices["category"]
    truth = text_labels(gold, model.space)
    modes = {}
    for mode in MODES:
        results = list(Labeler(model, mode).label_many(batch.texts, batch.questions, batch.scores))
        modes[mode] = evaluate(gold, results, model.taxonomy, random_state=config.random_state)
        if mode == BALANCED:
            usual = results
    doubts = expected_errors(found.texts, model.thresholds(), found.sentiments, model.space)
    return ProfileFigures(
        modes=modes,
        calibration_error=calibration_error(found.texts[:, columns], truth[:, columns]),
        review_curve=review_curve(gold, usual, doubts, model.taxonomy),
    )


def _remove(folder: Path) -> None:
    for file in folder.glob("*"):
        file.unlink()
    if folder.exists():
        folder.rmdir()


# --- the split ----------------------------------------------------------------------------


def split(
    texts: Sequence[LabelledText],
    config: Config,
    share: float,
    barred: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Number the independent groups of a corpus, and hold out a share of the texts.

    Parameters
    ----------
    texts : sequence of LabelledText
    config : Config
    share : float
    barred : ndarray of bool of shape (n_texts,), optional
        See `hold_out`.

    Returns
    -------
    group : ndarray of int of shape (n_texts,)
    held_out : ndarray of bool of shape (n_texts,)
    """
    if not config.group_by_author:
        texts = [replace(text, author=None) for text in texts]
    group = groups(texts)
    return group, hold_out(texts, group, share, config.random_state, barred)


def hold_out(
    texts: Sequence[LabelledText],
    group: np.ndarray,
    share: float,
    random_state: int,
    barred: np.ndarray | None = None,
) -> np.ndarray:
    """Mark whole groups until a share of the texts is reached.

    The order of the groups follows from a hash of their first text's author (or id), not from
    their number: texts of new authors do not reshuffle who is held out.

    Parameters
    ----------
    texts : sequence of LabelledText
    group : ndarray of shape (n_texts,)
        As `groups` numbers them.
    share : float
    random_state : int
    barred : ndarray of bool of shape (n_texts,), optional
        Groups mostly of such texts are never held out: those that an encoder was fine-tuned on.

    Returns
    -------
    ndarray of bool of shape (n_texts,)
    """
    first = [int(np.flatnonzero(group == g)[0]) for g in range(group.max() + 1)]
    names = [texts[i].author or texts[i].id for i in first]
    order = sorted(range(len(names)), key=lambda g: _hash(names[g], random_state))
    sizes = np.bincount(group)
    wanted = share * len(group)
    held_out: list[int] = []
    count = 0
    for candidate in order:
        if barred is not None and barred[group == candidate].mean() > _MOSTLY:
            continue
        # A group that would overshoot by more than it fills is left for training.
        if count + sizes[candidate] / 2 <= wanted:
            held_out.append(candidate)
            count += sizes[candidate]
    return np.isin(group, held_out)


def _hash(name: str, random_state: int) -> str:
    return hashlib.sha256(f"{random_state}:{name}".encode()).hexdigest()


# --- fitting ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fitted:
    features: TextFeatures
    sparse: Heads
    dense: Heads | None


def _fit(rows: LabelledRows, vectors: Vectors | None, config: Config) -> _Fitted:
    features = TextFeatures(
        word_ngrams=config.word_ngrams,
        char_ngrams=config.char_ngrams,
        min_texts=config.min_texts,
        max_words=config.max_words,
        max_chars=config.max_chars,
    )
    try:
        features.fit(rows.batch)
    except ValueError:
        msg = (
            f"{config.corpus}: no term stands in {config.min_texts} texts. Add texts, or lower "
            "'min_texts'."
        )
        raise ConfigError(msg) from None
    matrices = features.transform(rows.batch)
    sparse = Heads(
        _fit_labels(rows, matrices.texts, matrices.clauses, config),
        _fit_sentiment(matrices.texts, rows.sentiments, config.sentiment_c, config),
    )
    dense = None
    if vectors is not None:
        dense = Heads(
            _fit_labels(rows, vectors.texts, vectors.clauses, config, dense=True),
            _fit_sentiment(vectors.texts, rows.sentiments, config.dense_c, config),
        )
    return _Fitted(features, sparse, dense)


def _view_held_out(
    rows: LabelledRows,
    vectors: Vectors | None,
    config: Config,
    fit_on: np.ndarray,
    held_out: np.ndarray,
) -> dict[str, View]:
    """Fit on one part and return, by profile, the uncalibrated probabilities of the other."""
    inside = vectors and Vectors(vectors.texts[fit_on], vectors.clauses[rows.clauses_of(fit_on)])
    fitted = _fit(rows.subset(fit_on), inside, config)
    matrices = fitted.features.transform(rows.subset(held_out).batch)
    views = {FAST: View.of(fitted.sparse, matrices.texts, matrices.clauses)}
    if vectors is not None and fitted.dense is not None:
        outside = vectors.texts[held_out], vectors.clauses[rows.clauses_of(held_out)]
        views[ACCURATE] = views[FAST].mean(View.of(fitted.dense, *outside))
    return views


def _fit_sentiment(X: Any, y: np.ndarray, C: float, config: Config) -> LogisticRegression:
    """Fit a regression over all of `SENTIMENTS`, also where the corpus lacks some of them."""
    seen = np.unique(y)
    coef = np.zeros((len(SENTIMENTS), X.shape[1]))
    intercept = np.full(len(SENTIMENTS), _NEVER)
    regression = LogisticRegression(C=C, max_iter=500, random_state=config.random_state)
    if len(seen) == 1:
        intercept[seen] = 0.0
    else:
        regression.fit(X, y)
        # Of two classes scikit-learn keeps the odds of the second only.
        coef[seen[-len(regression.coef_) :]] = regression.coef_
        intercept[seen] = 0.0
        intercept[seen[-len(regression.coef_) :]] = regression.intercept_
    regression.coef_, regression.intercept_ = coef, intercept
    regression.classes_ = np.arange(len(SENTIMENTS))
    regression.n_features_in_ = X.shape[1]
    return regression


def _fit_labels(
    rows: LabelledRows, texts: Any, clauses: Any, config: Config, *, dense: bool = False
) -> MultilabelLogistic:
    """Fit aspects on texts and clauses, signals on texts only, and join their weights.

    A text of one clause is its clause, so only the clauses of longer texts add rows. Signals
    have no annotated evidence: a clause of a text that bears one may or may not show it.
    """
    n_signals = rows.text_labels.shape[1] - rows.clause_labels.shape[1]
    n_aspects = rows.clause_labels.shape[1]
    n_clauses = np.array([len(cut) for cut in rows.batch.segments])
    several = n_clauses[rows.batch.owner] > 1
    parts = [texts, clauses[several]]
    X: Any = np.vstack(parts) if dense else sp.vstack(parts, format="csr")
    Y = np.vstack([rows.text_labels[:, :n_aspects], rows.clause_labels[several]])
    aspects = MultilabelLogistic(
        C=config.dense_c if dense else config.aspect_c,
        min_positives=config.min_positives,
        random_state=config.random_state,
    ).fit_indicator(X, Y)
    if not n_signals:
        return aspects
    signals = MultilabelLogistic(
        C=config.dense_c if dense else config.signal_c,
        balanced=not dense,
        min_positives=config.min_positives,
        random_state=config.random_state,
    ).fit_indicator(texts, rows.text_labels[:, n_aspects:])
    aspects.coef_ = np.vstack([aspects.coef_, signals.coef_])
    aspects.intercept_ = np.concatenate([aspects.intercept_, signals.intercept_])
    aspects.classes_ = np.arange(len(aspects.coef_))
    return aspects


# --- calibration and thresholds -----------------------------------------------------------


def _calibrate(raw: np.ndarray, truth: np.ndarray, space: LabelSpace) -> Calibration:
    """Fit one Platt curve a kind of label on out-of-fold probabilities."""
    slope, intercept = {}, {}
    for kind in KINDS:
        columns = space.slices[kind]
        odds = _logit(raw[:, columns]).reshape(-1, 1)
        target = truth[:, columns].ravel()
        slope[kind], intercept[kind] = 1.0, 0.0
        if 0 < target.sum() < len(target):
            curve = LogisticRegression(C=1e3).fit(odds, target)
            # Rounded so that the last bits of a float do not differ between machines.
            slope[kind] = round(float(curve.coef_[0, 0]), 6)
            intercept[kind] = round(float(curve.intercept_[0]), 6)
    return Calibration(slope, intercept)


def _logit(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def decide(
    view: View,
    rows: LabelledRows,
    space: LabelSpace,
    *,
    threshold_shrinkage: float,
    review_share: float,
) -> Decisions:
    """Calibrate held-out probabilities, and set thresholds and the doubt that asks review.

    Parameters
    ----------
    view : View
        By models that did not see the texts.
    rows : LabelledRows
    space : LabelSpace
    threshold_shrinkage, review_share : float
        See `Config`.
    """
    raw = combine(view, space, rows.batch.owner)
    calibration = _calibrate(raw, rows.text_labels, space)
    calibrated = calibration.apply(raw, space)
    thresholds = {
        mode: _choose_thresholds(calibrated, rows.text_labels, space, threshold_shrinkage, mode)
        for mode in MODES
    }
    # What is given strictly is given in every mode, whatever a label's own best threshold is.
    generous, strict = MODES[0], MODES[2]
    thresholds[generous] = np.minimum(thresholds[generous], thresholds[BALANCED])
    thresholds[strict] = np.maximum(thresholds[strict], thresholds[BALANCED])
    doubts = expected_errors(calibrated, thresholds[BALANCED], view.sentiments, space)
    doubt = float(np.quantile(doubts, 1 - review_share))
    return Decisions(calibration, thresholds, round(doubt, 4))


def _choose_thresholds(
    calibrated: np.ndarray, truth: np.ndarray, space: LabelSpace, shrinkage: float, mode: str
) -> np.ndarray:
    """Threshold of each label, drawn towards that of its kind and polarity.

    Thresholds tuned on few examples overfit; a label with `shrinkage` examples goes
    half-way. Outside the balanced mode a label follows its kind altogether.
    """
    choose = {MODES[0]: generous_threshold, BALANCED: choose_threshold, MODES[2]: strict_threshold}
    thresholds = np.full(truth.shape[1], 0.5)
    kinds: dict[tuple[str, str], list[int]] = {}
    for column, name in enumerate(space.names):
        kind, _, rest = name.partition(":")
        polarity = rest.partition(":")[2]
        kinds.setdefault((kind, polarity), []).append(column)
    for columns in kinds.values():
        common = choose[mode](calibrated[:, columns], truth[:, columns])
        for column in columns:
            n = truth[:, column].sum() if mode == BALANCED else 0
            own = choose_threshold(calibrated[:, [column]], truth[:, [column]]) if n else common
            weight = n / (n + shrinkage) if n else 0.0
            thresholds[column] = round(weight * own + (1 - weight) * common, 4)
    return thresholds


def choose_threshold(
    probability: np.ndarray,
    truth: np.ndarray,
    thresholds: np.ndarray = _THRESHOLDS,
    weight: np.ndarray | float = 1.0,
) -> float:
    """Threshold with the best micro F1; of a plateau, the middle.

    Parameters
    ----------
    probability, truth : ndarray of shape (n_texts, n_labels)
    thresholds : ndarray, optional
        To choose from.
    weight : ndarray of shape (n_texts, 1), optional
        Of each text.
    """
    scores = []
    for threshold in thresholds:
        guess = probability >= threshold
        hits = (weight * (guess & (truth == 1))).sum()
        scores.append(2 * hits / max((weight * guess).sum() + (weight * truth).sum(), 1))
    best = np.flatnonzero(np.array(scores) >= max(scores) - 1e-9)
    return float(thresholds[best[len(best) // 2]]) if max(scores) > 0 else 0.5


def generous_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """Highest threshold at which nine in ten labels are found, yet never above the best one."""
    found = np.sort(probability[truth == 1])
    if not len(found):
        return choose_threshold(probability, truth)
    at = found[len(found) - ceil(_GENEROUS_RECALL * len(found))]
    return float(min(max(at, FINE_THRESHOLDS[0]), choose_threshold(probability, truth)))


def strict_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """Lowest threshold, not below the best one, from which nine in ten labels given are right.

    Where no threshold reaches that, the highest that still gives labels.
    """
    best = choose_threshold(probability, truth)
    reached = best
    for threshold in FINE_THRESHOLDS[best <= FINE_THRESHOLDS]:
        guess = probability >= threshold
        if not guess.any():
            break
        reached = float(threshold)
        if truth[guess].mean() >= _STRICT_PRECISION:
            break
    return reached
