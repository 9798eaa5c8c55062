"""From a configuration to a model folder: split, fit, calibrate, set thresholds, evaluate.

The same configuration, corpus and seed give the same folder, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, cpu_count, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from druppel.corpus import LabelledText, digest, groups, read_corpus
from druppel.errors import ConfigError
from druppel.evaluation import Evaluation, calibration_error, evaluate
from druppel.features import Batch, FeatureMatrices, TextFeatures
from druppel.labeler import Labeler
from druppel.model import (
    KINDS,
    Calibration,
    LabelSpace,
    Model,
    MultilabelLogistic,
    score_labels,
)
from druppel.result import POLARITIES, SENTIMENTS
from druppel.segment import Segmenter
from druppel.store import load_model, save_model
from druppel.taxonomy import Taxonomy

Progress = Callable[[str], None]

# A clause bears an aspect when at least this share of the clause lies in the evidence, or at
# least this share of the evidence in the clause.
_CLAUSE_SHARE = 0.5
_EVIDENCE_SHARE = 0.4
_MAX_C = 10_000.0
_NEVER = -30.0  # log-odds of a sentiment that no training text has
_THRESHOLDS = np.round(np.arange(0.06, 0.81, 0.02), 2)


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
        Inverse penalties of the three kinds of regression.
    min_positives : int
        Labels with fewer examples are not learned.
    threshold_shrinkage : float
        Number of examples at which a label's own threshold weighs as much as the one of its
        kind; small labels follow their kind.
    """

    name: str
    version: str
    output: Path
    taxonomy: Path
    corpus: Path
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
    min_positives: int
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
    if hint is Path and isinstance(value, str):
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
        If corpus, taxonomy or output folder cannot be used.
    """
    taxonomy = Taxonomy.load(config.taxonomy)
    texts = read_corpus(config.corpus, taxonomy)
    if config.output.exists() and not force:
        msg = f"{config.output}: exists already. Choose another output, or use --force."
        raise ConfigError(msg)
    for source in (config.taxonomy, config.corpus):
        if config.output == source or config.output in source.parents:
            msg = f"{config.output}: holds {source.name}; choose another output."
            raise ConfigError(msg)
    progress(f"{len(texts)} texts read")
    grouped = texts if config.group_by_author else _without_authors(texts)
    group = groups(grouped)
    test = _choose_test(grouped, group, config)
    train_rows, test_rows = np.flatnonzero(~test), np.flatnonzero(test)
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
    rows = _Rows.of([texts[i] for i in train_rows], space, segmenter)
    splits = list(GroupKFold(config.folds).split(train_rows, groups=group[train_rows]))
    raw = np.zeros((len(train_rows), len(space.names)))
    # Whole fits run side by side, each in a process of its own: the outcome of a fit cannot
    # depend on its neighbours.
    jobs = [delayed(_score_held_out)(rows, space, config, *split) for split in splits]
    jobs.append(delayed(_fit)(rows, config))
    outcomes = Parallel(n_jobs=min(cpu_count(), len(jobs)), return_as="generator")(jobs)
    for number, (_, held_out) in enumerate(splits, start=1):
        raw[held_out] = next(outcomes)
        progress(f"cross-validation {number} of {config.folds} done")
    calibration = _calibrate(raw, rows.text_labels, space)
    calibrated = calibration.apply(raw, space)
    thresholds = _choose_thresholds(calibrated, rows.text_labels, space, config)
    fitted: _Fitted = next(outcomes)
    model = Model(
        name=config.name,
        version=config.version,
        taxonomy=taxonomy,
        features=fitted.features,
        labels=fitted.labels,
        sentiment=fitted.sentiment,
        calibration=calibration,
        thresholds=thresholds,
    )
    progress("evaluation")
    return _write(model, texts, train_rows, test_rows, config, force=force)


def _write(
    model: Model,
    texts: Sequence[LabelledText],
    train_rows: np.ndarray,
    test_rows: np.ndarray,
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
        labeler = Labeler(load_model(staging))
        batch = Batch.cut([t.text for t in held_out], Segmenter(), [t.question for t in held_out])
        scores = labeler.model.score(batch).texts
        results = list(labeler.label_many(batch.texts, batch.questions))
        evaluation = evaluate(held_out, results, model.taxonomy, random_state=config.random_state)
        columns = model.space.slices["category"]
        truth = _text_labels(held_out, model.space)
        metrics = {
            "held_out": evaluation.to_dict(),
            "calibration_error": calibration_error(scores[:, columns], truth[:, columns]),
            "n_train": len(train_rows),
            "n_test": len(test_rows),
            "test_ids": [t.id for t in held_out],
            "corpus_sha256": digest(texts),
            "taxonomy_sha256": model.taxonomy.digest,
        }
        files["metrics.json"] = json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"
        files["README.md"] = _model_card(model, texts, evaluation, metrics)
        save_model(model, config.output, files, force=force)
    finally:
        _remove(staging)
    return Trained(config.output, evaluation, len(train_rows), len(test_rows))


def _remove(folder: Path) -> None:
    for file in folder.glob("*"):
        file.unlink()
    if folder.exists():
        folder.rmdir()


# --- the split ----------------------------------------------------------------------------


def _without_authors(texts: Sequence[LabelledText]) -> list[LabelledText]:
    return [replace(text, author=None) for text in texts]


def _choose_test(texts: Sequence[LabelledText], group: np.ndarray, config: Config) -> np.ndarray:
    """Hold out whole groups until the share is reached.

    The order of the groups follows from a hash of their first text's author (or id), not from
    their number: texts of new authors do not reshuffle who is held out.
    """
    first = [int(np.flatnonzero(group == g)[0]) for g in range(group.max() + 1)]
    names = [texts[i].author or texts[i].id for i in first]
    order = sorted(range(len(names)), key=lambda g: _hash(names[g], config.random_state))
    sizes = np.bincount(group)
    wanted = config.test_share * len(group)
    held_out: list[int] = []
    count = 0
    for candidate in order:
        # A group that would overshoot by more than it fills is left for training.
        if count + sizes[candidate] / 2 <= wanted:
            held_out.append(candidate)
            count += sizes[candidate]
    test = np.isin(group, held_out)
    if not test.any() or test.all():
        msg = (
            f"{config.corpus}: cannot hold out {config.test_share:.0%}: {len(sizes)} independent "
            "groups of texts. Add texts, or set group_by_author = false."
        )
        raise ConfigError(msg)
    return test


def _hash(name: str, random_state: int) -> str:
    return hashlib.sha256(f"{random_state}:{name}".encode()).hexdigest()


# --- fitting ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Training texts with the labels of the texts and of their clauses."""

    batch: Batch
    text_labels: np.ndarray
    clause_labels: np.ndarray
    sentiments: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[LabelledText], space: LabelSpace, segmenter: Segmenter) -> _Rows:
        batch = Batch.cut([t.text for t in texts], segmenter, [t.question for t in texts])
        return cls(
            batch=batch,
            text_labels=_text_labels(texts, space),
            clause_labels=_clause_labels(texts, batch, space),
            sentiments=np.array([SENTIMENTS.index(t.sentiment) for t in texts]),
        )

    def subset(self, rows: np.ndarray) -> _Rows:
        batch = Batch(
            texts=[self.batch.texts[i] for i in rows],
            questions=[self.batch.questions[i] for i in rows],
            segments=[self.batch.segments[i] for i in rows],
        )
        first = np.concatenate([[0], np.cumsum([len(cut) for cut in self.batch.segments])])
        clauses = [np.arange(first[i], first[i + 1]) for i in rows]
        kept = np.concatenate(clauses) if clauses else np.array([], dtype=int)
        return _Rows(batch, self.text_labels[rows], self.clause_labels[kept], self.sentiments[rows])


@dataclass(frozen=True)
class _Fitted:
    features: TextFeatures
    labels: MultilabelLogistic
    sentiment: LogisticRegression


def _fit(rows: _Rows, config: Config) -> _Fitted:
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
    sentiment = _fit_sentiment(matrices.texts, rows.sentiments, config)
    return _Fitted(features, _fit_labels(rows, matrices, config), sentiment)


def _fit_sentiment(X: sp.csr_matrix, y: np.ndarray, config: Config) -> LogisticRegression:
    """Fit a regression over all of `SENTIMENTS`, also where the corpus lacks some of them."""
    seen = np.unique(y)
    coef = np.zeros((len(SENTIMENTS), X.shape[1]))
    intercept = np.full(len(SENTIMENTS), _NEVER)
    regression = LogisticRegression(
        C=config.sentiment_c, max_iter=500, random_state=config.random_state
    )
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


def _score_held_out(
    rows: _Rows, space: LabelSpace, config: Config, fit_on: np.ndarray, held_out: np.ndarray
) -> np.ndarray:
    """Fit on one part and return the uncalibrated probabilities of the other."""
    fitted = _fit(rows.subset(fit_on), config)
    part = rows.subset(held_out)
    matrices = fitted.features.transform(part.batch)
    by_text, _ = score_labels(fitted.labels, space, matrices, part.batch.owner)
    return by_text


def _fit_labels(rows: _Rows, matrices: FeatureMatrices, config: Config) -> MultilabelLogistic:
    """Fit aspects on texts and clauses, signals on texts only, and join their weights.

    A text of one clause is its clause, so only the clauses of longer texts add rows. Signals
    have no annotated evidence: a clause of a text that bears one may or may not show it.
    """
    n_signals = rows.text_labels.shape[1] - rows.clause_labels.shape[1]
    n_aspects = rows.clause_labels.shape[1]
    n_clauses = np.array([len(cut) for cut in rows.batch.segments])
    several = n_clauses[rows.batch.owner] > 1
    X = sp.vstack([matrices.texts, matrices.clauses[several]], format="csr")
    Y = np.vstack([rows.text_labels[:, :n_aspects], rows.clause_labels[several]])
    aspects = MultilabelLogistic(
        C=config.aspect_c, min_positives=config.min_positives, random_state=config.random_state
    ).fit_indicator(X, Y)
    if not n_signals:
        return aspects
    signals = MultilabelLogistic(
        C=config.signal_c,
        balanced=True,
        min_positives=config.min_positives,
        random_state=config.random_state,
    ).fit_indicator(matrices.texts, rows.text_labels[:, n_aspects:])
    aspects.coef_ = np.vstack([aspects.coef_, signals.coef_])
    aspects.intercept_ = np.concatenate([aspects.intercept_, signals.intercept_])
    aspects.classes_ = np.arange(len(aspects.coef_))
    return aspects


def _text_labels(texts: Sequence[LabelledText], space: LabelSpace) -> np.ndarray:
    """Indicator of shape (n_texts, n_labels)."""
    labels = np.zeros((len(texts), len(space.names)), dtype=np.int8)
    begin = space.slices["signal"].start
    for i, text in enumerate(texts):
        for aspect in text.aspects:
            labels[i, _columns(aspect.leaf, aspect.polarity, space)] = 1
        for signal in text.signals:
            labels[i, begin + space.signals.index(signal)] = 1
    return labels


def _clause_labels(texts: Sequence[LabelledText], batch: Batch, space: LabelSpace) -> np.ndarray:
    """Indicator of shape (n_clauses, n_aspect_labels), from the evidence of the aspects."""
    labels = np.zeros((len(batch.clauses), space.slices["signal"].start), dtype=np.int8)
    row = 0
    for text, cut in zip(texts, batch.segments, strict=True):
        for aspect in text.aspects:
            start, end = 0, len(text.text)
            if aspect.evidence is not None:
                start = text.text.index(aspect.evidence)
                end = start + len(aspect.evidence)
            columns = _columns(aspect.leaf, aspect.polarity, space)
            for offset, segment in enumerate(cut):
                shared = min(end, segment.end) - max(start, segment.start)
                if shared >= _CLAUSE_SHARE * (segment.end - segment.start) or (
                    shared >= _EVIDENCE_SHARE * (end - start)
                ):
                    labels[row + offset, columns] = 1
        row += len(cut)
    return labels


def _columns(leaf: str, polarity: str, space: LabelSpace) -> list[int]:
    number, p = space.leaves.index(leaf), POLARITIES.index(polarity)
    return [space.leaf(number, p), space.category(space.category_of_leaf[number], p)]


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


def _choose_thresholds(
    calibrated: np.ndarray, truth: np.ndarray, space: LabelSpace, config: Config
) -> np.ndarray:
    """Best-F1 threshold of each label, drawn towards that of its kind and polarity.

    Thresholds tuned on few examples overfit; a label with `threshold_shrinkage` examples goes
    half-way.
    """
    thresholds = np.full(truth.shape[1], 0.5)
    kinds: dict[tuple[str, str], list[int]] = {}
    for column, name in enumerate(space.names):
        kind, _, rest = name.partition(":")
        polarity = rest.partition(":")[2]
        kinds.setdefault((kind, polarity), []).append(column)
    for columns in kinds.values():
        common = _best_threshold(calibrated[:, columns], truth[:, columns])
        for column in columns:
            own = _best_threshold(calibrated[:, [column]], truth[:, [column]])
            n = truth[:, column].sum()
            weight = n / (n + config.threshold_shrinkage) if n else 0.0
            thresholds[column] = round(weight * own + (1 - weight) * common, 4)
    return thresholds


def _best_threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """Threshold with the best micro F1; of a plateau, the middle."""
    scores = []
    for threshold in _THRESHOLDS:
        guess = probability >= threshold
        hits = (guess & (truth == 1)).sum()
        scores.append(2 * hits / max(guess.sum() + truth.sum(), 1))
    best = np.flatnonzero(np.array(scores) >= max(scores) - 1e-9)
    return float(_THRESHOLDS[best[len(best) // 2]]) if max(scores) > 0 else 0.5


# --- the model card -----------------------------------------------------------------------


def _model_card(
    model: Model,
    texts: Sequence[LabelledText],
    evaluation: Evaluation,
    metrics: dict[str, Any],
) -> str:
    """Render the model card (Markdown) from the figures and the corpus."""
    names = model.taxonomy.names
    sentiments = Counter(t.sentiment for t in texts)
    lines = [
        f"# {model.title}",
        "",
        "Labels Dutch customer feedback with irritations, their polarity and evidence, overall "
        "sentiment and signals. Made by `druppel train` from the `config.toml` and "
        "`taxonomy.toml` in this folder.",
        "",
        "## Intended use",
        "",
        "Survey answers, tickets, mails and reviews of customers, in Dutch, labelled in bulk to "
        "report on, or one at a time at intake. Texts marked for review, and any decision about "
        "a single person, need a human look. Not meant for text about persons, for other "
        "languages, or for judging employees.",
        "",
        "## Data",
        "",
        f"{len(texts)} texts: {metrics['n_train']} to train on, {metrics['n_test']} held out "
        "(whole authors; near duplicates never on both sides). Sentiment: "
        + ", ".join(f"{s} {sentiments[s]}" for s in SENTIMENTS)
        + f". Corpus SHA-256 `{metrics['corpus_sha256'][:16]}…`.",
        "",
        "## Figures on the held-out texts",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
        *(
            f"| {name} | {f.value:.3f} | {f.low:.3f} – {f.high:.3f} |"
            for name, f in evaluation.figures.items()
        ),
        f"| calibration error of categories | {metrics['calibration_error']:.3f} | |",
        f"| share marked for review | {evaluation.review_share:.3f} | |",
        "",
        "Precision, recall and F1 of a category as an irritation:",
        "",
        "| category | precision | recall | F1 | texts |",
        "|---|---|---|---|---|",
        *(
            f"| {names[f.label]} (`{f.label}`) | {f.precision:.2f} | {f.recall:.2f} | {f.f1:.2f} "
            f"| {f.support} |"
            for f in evaluation.labels["irritation"]
        ),
        "",
        "## Limits",
        "",
        "- Figures on texts of other companies and sectors are lower than those above: the "
        "held-out texts have other authors, but the same guide and the same makers.",
        "- Rare leaves are learned from few examples; where only the category is sure, `leaf` is "
        "empty.",
        "- Irony, hearsay and an irritation told without any of its usual words are missed more "
        "often than plain complaints.",
        "",
    ]
    return "\n".join(lines)
