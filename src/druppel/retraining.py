"""Improve a model by an organisation's own decisions, in less than a minute.

The heads are not fitted anew: each gets a correction of its weights, found on the decisions and
drawn towards nothing (Chelba and Acero 2006, Adaptation of maximum entropy capitalizer). So that
nothing is forgotten, it may hardly change what the model thinks of a sample of what the base had
learnt from (Li and Hoiem 2016, Learning without forgetting). Labels that no decision contradicts
keep their weights to the bit. A label of the organisation's own has nothing to be corrected and is
learnt as any other, with the sample as texts that do not bear it. The encoder stays as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, cpu_count, delayed
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from druppel.corpus import GoldAspect, LabelledText, groups
from druppel.encoder import Vectors
from druppel.errors import ConfigError
from druppel.features import FeatureMatrices, TextFeatures
from druppel.model import (
    ACCURATE,
    BALANCED,
    FAST,
    MODES,
    Calibration,
    Decisions,
    Heads,
    LabelSpace,
    Model,
    MultilabelLogistic,
    View,
    combine,
    log_odds,
)
from druppel.result import POLARITIES, SENTIMENTS
from druppel.segment import Segmenter
from druppel.targets import UNKNOWN_SENTIMENT, LabelledRows
from druppel.taxonomy import Taxonomy
from druppel.training import FINE_THRESHOLDS, choose_threshold, decide

Progress = Callable[[str], None]

# A decision contradicts a label when the base is at least this far from it.
_CONTRADICTED = 0.3
# Of each leaf and polarity, and of each signal, so many texts are in the sample at least.
_LEAST_OF_EACH = 12
_MAX_NEW_WORDS = 5_000
_NEVER = -8.0  # log-odds of a new label before its first example
# Fewer texts than this are divided into fewer folds.
_TEXTS_A_FOLD = 4
_DOUBTFUL = 0.25  # weight, for a threshold, of a text in which nobody looked for the label
_SURROGATE = re.compile("[\ud800-\udfff]")
_NEGATIVE, _POSITIVE = POLARITIES.index("neg"), POLARITIES.index("pos")
_LEANS = {"neg": -1, "pos": 1, "neu": 0}


@dataclass(frozen=True)
class Settings:
    """How a model is extended.

    Attributes
    ----------
    weight : float
        Of a decision.
    own_c : float
        Inverse penalty on the correction of a label that the base knows.
    anchor : float
        Penalty on every change that a correction makes to the log-odds of a text of the sample.
    new_c : float
        Inverse penalty on the weights of a new label.
    sample : int
        Texts of the base's corpus that keep it from forgetting.
    folds : int
        Of the cross-validation that sets thresholds of new labels.
    threshold_shrinkage : float
        Number of examples at which a new label's own threshold weighs as much as that of its kind.
    review_share : float
        Share of the texts that is marked for review, for a taxonomy wholly of one's own.
    random_state : int
    """

    weight: float = 3.0
    own_c: float = 0.5
    anchor: float = 0.1
    new_c: float = 3.0
    sample: int = 2_000
    folds: int = 3
    threshold_shrinkage: float = 10.0
    review_share: float = 0.2
    random_state: int = 0


@dataclass(frozen=True)
class Origins:
    """Where the labels of a taxonomy come from.

    Attributes
    ----------
    sources : dict of str to tuple of str
        For each slug, the slugs of the base that it goes on from: its own, its old name, or
        several that were merged.
    fresh : bool
        The taxonomy shares no leaf with the base: nothing of the base's labels is of use.
    """

    sources: dict[str, tuple[str, ...]]
    fresh: bool

    @classmethod
    def of(
        cls, base: Taxonomy, taxonomy: Taxonomy, renamed: Mapping[str, str] | None = None
    ) -> Origins:
        """Match the labels of a taxonomy with those of the base.

        Parameters
        ----------
        base, taxonomy : Taxonomy
        renamed : dict of str to str, optional
            New slug by old slug, for labels that were renamed or merged.
        """
        renamed = renamed or {}
        sources: dict[str, tuple[str, ...]] = {}
        for kind in ("categories", "leaves", "signals"):
            known = {label.slug for label in getattr(base, kind)}
            for label in getattr(taxonomy, kind):
                old = [slug for slug in sorted(known) if renamed.get(slug, slug) == label.slug]
                sources[label.slug] = tuple(old)
        fresh = not any(sources[leaf.slug] for leaf in taxonomy.leaves)
        return cls(sources, fresh)


def carry_over(
    texts: Iterable[LabelledText],
    base: Taxonomy,
    taxonomy: Taxonomy,
    renamed: Mapping[str, str] | None = None,
) -> list[LabelledText]:
    """Return texts labelled by the base's taxonomy as the new one would label them.

    Labels that were renamed get their new name. A text that bears a leaf which no longer exists
    is left out: it may bear one of the new leaves, and nobody looked.
    """
    renamed = renamed or {}
    signals = {signal.slug for signal in taxonomy.signals}
    kept: list[LabelledText] = []
    for text in texts:
        aspects: list[GoldAspect] = []
        for aspect in text.aspects:
            slug = renamed.get(aspect.leaf, aspect.leaf)
            if slug not in taxonomy.parent:
                break
            moved = replace(aspect, leaf=slug)
            if not any((a.leaf, a.polarity) == (slug, aspect.polarity) for a in aspects):
                aspects.append(moved)
        else:
            named = (renamed.get(signal, signal) for signal in text.signals)
            kept.append(
                replace(
                    text,
                    aspects=tuple(aspects),
                    signals=tuple(dict.fromkeys(s for s in named if s in signals)),
                )
            )
    return kept


def sample_texts(texts: Sequence[LabelledText], size: int, random_state: int) -> list[LabelledText]:
    """Draw texts at random, with a few of every label among them.

    Parameters
    ----------
    texts : sequence of LabelledText
    size : int
    random_state : int
    """
    order = np.random.default_rng(random_state).permutation(len(texts))
    count: Counter[str] = Counter()
    chosen: list[int] = []
    for place, i in enumerate(order):
        labels = [f"{a.leaf}:{a.polarity}" for a in texts[i].aspects] + list(texts[i].signals)
        if place < size or any(count[label] < _LEAST_OF_EACH for label in labels):
            chosen.append(int(i))
            count.update(labels)
    return [texts[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Material:
    """Decisions and sample, as the heads see them; the decisions come first."""

    rows: LabelledRows
    matrices: FeatureMatrices
    vectors: Vectors | None
    n_own: int
    group: np.ndarray
    shown: np.ndarray
    unlooked: np.ndarray  # of shape (n_own, n_labels): taken before the label existed
    origin: _Start = field(repr=False)


@dataclass(frozen=True)
class _Start:
    """The base laid out for the labels of the new taxonomy, before anything is learnt."""

    features: TextFeatures
    sparse: Heads
    dense: Heads | None
    new: np.ndarray
    forced: np.ndarray
    relabelled: np.ndarray


def extend(
    base: Model,
    taxonomy: Taxonomy,
    own: Sequence[LabelledText],
    sample: Sequence[LabelledText],
    *,
    name: str,
    version: str,
    settings: Settings | None = None,
    renamed: Mapping[str, str] | None = None,
    unlooked: Mapping[str, Collection[str]] | None = None,
    progress: Progress = lambda _: None,
) -> Model:
    """Improve a model by decisions of one's own.

    Parameters
    ----------
    base : Model
        Opened with the profile ``nauwkeurig`` where it has one.
    taxonomy : Taxonomy
        The base's, or one with other labels.
    own : sequence of LabelledText
        The decisions; a sentiment that nobody judged is not learnt from.
    sample : sequence of LabelledText
        Of what the base learnt from, labelled by `taxonomy` (see `carry_over`).
    name, version : str
        Of the new model.
    settings : Settings, optional
    renamed : dict of str to str, optional
        New slug by old slug.
    progress : callable, optional

    Returns
    -------
    Model

    Raises
    ------
    ConfigError
        If there is nothing to learn from: no decisions, and no texts of the base to go by.
    """
    settings = settings or Settings()
    origins = Origins.of(base.taxonomy, taxonomy, renamed)
    if origins.fresh:
        sample = []
    if not own and not sample:
        msg = "There are no decisions to learn the labels of this taxonomy from. Add some first."
        raise ConfigError(msg)
    material = prepare(base, taxonomy, origins, own, sample, progress, unlooked)
    space = LabelSpace.of(taxonomy)
    everything = np.arange(len(material.rows.batch.texts))
    progress("fitting")
    sparse, dense = refit(material, everything, settings, _columns(material, settings))
    progress("thresholds")
    return Model(
        name=name,
        version=version,
        taxonomy=taxonomy,
        features=material.origin.features,
        sparse=sparse,
        encoder=base.encoder,
        dense=dense,
        decisions=_decisions(base, space, origins, material, settings),
    )


@dataclass(frozen=True)
class OutOfFold:
    """What models that did not see them think of the decisions.

    Attributes
    ----------
    space : LabelSpace
    probability : ndarray of shape (n_texts, n_labels)
        Calibrated.
    thresholds : ndarray of shape (n_labels,)
    sentiments : ndarray of shape (n_texts, 4)
    """

    space: LabelSpace
    probability: np.ndarray
    thresholds: np.ndarray
    sentiments: np.ndarray


def out_of_fold(
    base: Model,
    taxonomy: Taxonomy,
    own: Sequence[LabelledText],
    sample: Sequence[LabelledText],
    *,
    settings: Settings | None = None,
    renamed: Mapping[str, str] | None = None,
    unlooked: Mapping[str, Collection[str]] | None = None,
    progress: Progress = lambda _: None,
) -> OutOfFold:
    """Judge each decision by a model that learnt from the others.

    Parameters are those of `extend`. Near duplicates are in one fold.

    Raises
    ------
    ConfigError
        If there are no decisions.
    """
    if not own:
        msg = "There are no decisions to judge. Add some first."
        raise ConfigError(msg)
    settings = settings or Settings()
    origins = Origins.of(base.taxonomy, taxonomy, renamed)
    if origins.fresh:
        sample = []
    material = prepare(base, taxonomy, origins, own, sample, progress, unlooked)
    space = LabelSpace.of(taxonomy)
    views, order = _held_out_views(material, settings, _columns(material, settings), progress)
    part = material.rows.subset(order)
    profile = ACCURATE if ACCURATE in views else FAST
    decisions = _decisions(base, space, origins, material, settings)[profile]
    raw = combine(views[profile], space, part.batch.owner)
    back = np.argsort(order)
    return OutOfFold(
        space=space,
        probability=decisions.calibration.apply(raw, space)[back],
        thresholds=decisions.thresholds[BALANCED],
        sentiments=views[profile].sentiments[back],
    )


# --- laying out -----------------------------------------------------------------------------


def prepare(
    base: Model,
    taxonomy: Taxonomy,
    origins: Origins,
    own: Sequence[LabelledText],
    sample: Sequence[LabelledText],
    progress: Progress,
    unlooked: Mapping[str, Collection[str]] | None = None,
) -> Material:
    """Lay out decisions and sample for fitting; parameters are those of `extend`."""
    space = LabelSpace.of(taxonomy)
    rows = LabelledRows.of([*own, *sample], space, Segmenter())
    features = _with_new_words(base.features, rows.subset(np.arange(len(own))))
    start = _start(base, features, space, origins)
    progress(f"reading {len(own)} decisions and {len(sample)} texts of the base")
    shown = [all(a.evidence is not None for a in text.aspects) for text in own]
    doubtful = np.zeros((len(own), len(space.names)), dtype=bool)
    for slug, ids in (unlooked or {}).items():
        columns = _columns_about(slug, space)
        doubtful[np.ix_([text.id in ids for text in own], columns)] = True
    return Material(
        rows=rows,
        unlooked=doubtful & (rows.text_labels[: len(own)] == 0),
        matrices=features.transform(rows.batch),
        vectors=None if base.encoder is None else base.encoder.encode(rows.batch),
        n_own=len(own),
        group=groups(own) if own else np.zeros(0, dtype=int),
        shown=np.array(shown + [True] * len(sample)),
        origin=start,
    )


def _with_new_words(features: TextFeatures, rows: LabelledRows) -> TextFeatures:
    """Add the words of the decisions that the base never saw, such as names of products.

    Their weight is that of the rarest words that it did see.
    """
    grown = TextFeatures(**{**features.get_params(), "min_texts": 2, "max_words": _MAX_NEW_WORDS})
    vocabularies = features.vocabularies()
    known = set(vocabularies["words"])
    try:
        grown.fit(rows.batch)
        found = grown.vocabularies()["words"]
        # Half a surrogate pair cannot be written to a file.
        words = [word for word in found if word not in known and not _SURROGATE.search(word)]
    except ValueError:  # no word stands in two texts
        words = []
    idf = features.word_idf_.idf_
    restored = TextFeatures(**features.get_params())
    return restored.restore(
        {**vocabularies, "words": [*vocabularies["words"], *words]},
        {
            "words": np.concatenate([idf, np.full(len(words), idf.max(), dtype=idf.dtype)]),
            "chars": features.char_idf_.idf_,
        },
    )


def _start(base: Model, features: TextFeatures, space: LabelSpace, origins: Origins) -> _Start:
    """Lay the base's weights out for new words and labels."""
    sources = [_base_columns(name, base.space, origins) for name in space.names]
    new = np.array([not columns for columns in sources])
    forced = new | np.array([len(columns) > 1 for columns in sources])
    # A category that gained or lost leaves is another one than it was.
    for number, category in enumerate(space.categories):
        before = {
            base.space.leaves[i]
            for i, owner in enumerate(base.space.category_of_leaf)
            if base.space.categories[owner] in origins.sources[category]
        }
        after = {
            source
            for i, owner in enumerate(space.category_of_leaf)
            if owner == number
            for source in origins.sources[space.leaves[i]]
        }
        if before != after:
            forced[[space.category(number, p) for p in range(len(POLARITIES))]] = True
    # Of a merger, and of a category that known leaves moved to or from, the sample tells which
    # texts bear it; of a new leaf nobody looked.
    relabelled = forced.copy()
    for number, leaf in enumerate(space.leaves):
        if not origins.sources[leaf]:
            owner = space.category_of_leaf[number]
            for p in range(len(POLARITIES)):
                relabelled[[space.leaf(number, p), space.category(owner, p)]] = False
    relabelled[space.slices["signal"]] &= ~new[space.slices["signal"]]
    n_words = len(base.features.vocabularies()["words"])
    n_new = len(features.vocabularies()["words"]) - n_words
    sparse = Heads(
        _mapped(_widened(base.sparse.labels, n_words, n_new), sources),
        _widened(base.sparse.sentiment, n_words, n_new),
    )
    dense = None
    if base.dense is not None:
        dense = Heads(_mapped(base.dense.labels, sources), base.dense.sentiment)
    return _Start(features, sparse, dense, new, forced, relabelled)


def _base_columns(name: str, base: LabelSpace, origins: Origins) -> list[int]:
    """Columns of the base that a label goes on from."""
    kind, _, rest = name.partition(":")
    slug, _, polarity = rest.partition(":")
    ending = f":{polarity}" if polarity else ""
    return [base.names.index(f"{kind}:{old}{ending}") for old in origins.sources[slug]]


def _widened(regression: Any, n_words: int, n_new: int) -> Any:
    """Give a regression weights of nothing for new words, which stand behind the known ones."""
    coef = np.asarray(regression.coef_)
    nothing = np.zeros((len(coef), n_new), dtype=coef.dtype)
    return _with_weights(
        regression,
        np.hstack([coef[:, :n_words], nothing, coef[:, n_words:]]),
        regression.intercept_,
    )


def _mapped(regression: MultilabelLogistic, sources: list[list[int]]) -> MultilabelLogistic:
    """Put the base's weights in the columns of the new labels; a merger begins at the mean."""
    coef = np.zeros((len(sources), regression.coef_.shape[1]), dtype=np.float32)
    intercept = np.full(len(sources), _NEVER, dtype=np.float32)
    for column, old in enumerate(sources):
        if old:
            coef[column] = regression.coef_[old].mean(axis=0)
            intercept[column] = regression.intercept_[old].mean()
    return _with_weights(regression, coef, intercept)


def _with_weights(regression: Any, coef: np.ndarray, intercept: np.ndarray) -> Any:
    made = type(regression)(**regression.get_params())
    made.coef_ = np.asfortranarray(coef, dtype=np.float32)
    made.intercept_ = np.asarray(intercept, dtype=np.float32)
    made.n_features_in_ = coef.shape[1]
    if isinstance(regression, MultilabelLogistic):
        made.multilabel_ = True
        made.classes_ = np.arange(len(coef))
    else:
        made.classes_ = regression.classes_
    return made


def _columns_about(slug: str, space: LabelSpace) -> list[int]:
    """Columns of a leaf and of its category, or of a signal; whichever are new are meant."""
    if slug in space.signals:
        return [space.slices["signal"].start + space.signals.index(slug)]
    leaf = space.leaves.index(slug)
    category = space.category_of_leaf[leaf]
    n = range(len(POLARITIES))
    return [space.leaf(leaf, p) for p in n] + [space.category(category, p) for p in n]


# --- fitting --------------------------------------------------------------------------------


def _columns(material: Material, settings: Settings) -> np.ndarray:
    """Columns to learn: new labels, changed ones, and those that a decision contradicts."""
    chosen = material.origin.forced.copy()
    own = np.arange(material.n_own)
    truth = material.rows.text_labels[own]
    for heads, texts in _sides(material):
        gap = np.abs(expit(log_odds(heads.labels, texts[own])) - truth)
        chosen |= (gap > _CONTRADICTED).any(axis=0)
    # A new label without any example is not learnt: its base rate stands. Neither is a signal of
    # which no decision has any: whoever decided did not look for signals.
    positive = material.rows.text_labels.any(axis=0)
    chosen &= positive | ~material.origin.new
    n_aspects = material.rows.clause_labels.shape[1]
    if not truth[:, n_aspects:].any():
        chosen[n_aspects:] = False
    return np.flatnonzero(chosen)


def _sides(material: Material) -> list[tuple[Heads, Any]]:
    sides: list[tuple[Heads, Any]] = [(material.origin.sparse, material.matrices.texts)]
    if material.vectors is not None and material.origin.dense is not None:
        sides.append((material.origin.dense, material.vectors.texts))
    return sides


def refit(
    material: Material,
    fit_on: np.ndarray,
    settings: Settings,
    columns: np.ndarray,
    *,
    sentiment: bool = True,
) -> tuple[Heads, Heads | None]:
    """Fit corrections of some labels (by column) on some of the texts (by number)."""
    matrices, vectors, start = material.matrices, material.vectors, material.origin
    rest = material, fit_on, settings, columns, sentiment
    dense = None
    # The fits share the cores among them; more threads inside each would only wait.
    with threadpool_limits(1):
        sparse = _refit_heads(start.sparse, matrices.texts, matrices.clauses, *rest)
        if vectors is not None and start.dense is not None:
            dense = _refit_heads(start.dense, vectors.texts, vectors.clauses, *rest)
    return sparse, dense


def _refit_heads(
    heads: Heads,
    texts: Any,
    clauses: Any,
    material: Material,
    fit_on: np.ndarray,
    settings: Settings,
    columns: np.ndarray,
    judge: bool,
) -> Heads:
    rows = material.rows
    n_aspects = rows.clause_labels.shape[1]
    n_clauses = np.array([len(cut) for cut in rows.batch.segments])
    inside = np.zeros(len(n_clauses), dtype=bool)
    inside[fit_on] = True
    owner = rows.batch.owner
    # Of a text without evidence nobody knows which clause bears the aspect.
    used = (inside & (n_clauses > 1) & material.shown)[owner]
    stack: Callable[[Any], Any] = (
        (lambda parts: sp.vstack(parts, format="csr")) if sp.issparse(texts) else np.vstack
    )
    X_texts = texts[fit_on]
    X: Any = stack([X_texts, clauses[used]])
    Y = np.vstack([rows.text_labels[fit_on][:, :n_aspects], rows.clause_labels[used]])
    of_text = np.concatenate([fit_on, owner[used]])
    own = of_text < material.n_own
    # A term that none of these rows has keeps its weight. In double precision once, rather than
    # anew in every step.
    indices = getattr(X, "indices", None)  # of a sparse matrix
    terms = np.arange(X.shape[1]) if indices is None else np.unique(indices)
    X, X_few = X[:, terms].astype(np.float64), X_texts[:, terms].astype(np.float64)
    n_texts = len(fit_on)
    # All of the sample together weighs as much as the decisions: it may not bury a new label.
    share = min(1.0, settings.weight * own.sum() / max((~own).sum(), 1))

    def weights_of(column: int, of_sample: float, of_own: np.ndarray) -> np.ndarray:
        """Weight of each row; a decision from before a new label counts as the sample does."""
        weight = np.where(of_own, settings.weight, of_sample)
        if material.origin.new[column]:
            before = np.zeros(len(n_clauses), dtype=bool)
            before[: material.n_own] = material.unlooked[:, column]
            weight[before[of_text[: len(of_own)]]] = of_sample
        return weight

    labels = _with_topics(
        heads.labels, X, Y, terms, lambda column: weights_of(column, share, own), material, settings
    )
    weights = np.ascontiguousarray(labels.coef_[columns][:, terms].T, dtype=np.float64)
    odds = np.asarray(X @ weights) + labels.intercept_[columns]
    jobs = []
    for place, column in enumerate(columns):
        new, relabelled = material.origin.new[column], material.origin.relabelled[column]
        if column < n_aspects:
            part, truth, of_own = X, Y[:, column], own
        else:
            part, truth, of_own = X_few, rows.text_labels[fit_on, column], own[:n_texts]
        of_sample = 1.0 if relabelled else share if new else 0.0
        weight = weights_of(column, of_sample, of_own)
        if column >= n_aspects and sp.issparse(texts):
            weight = weight * _balance(truth)
        anchor = np.where(of_own | new | relabelled, 0.0, settings.anchor)
        c = settings.new_c if new else settings.own_c
        start = odds[: len(truth), place]
        jobs.append(delayed(_correction)(part, truth, start, weight, anchor, c))
    found = Parallel(n_jobs=cpu_count(), backend="threading")(jobs)
    coef = labels.coef_.copy()
    intercept = labels.intercept_.copy()
    for column, (change, shift) in zip(columns, found, strict=True):
        coef[column, terms] += change
        intercept[column] += shift
    judged = own[:n_texts] & (rows.sentiments[fit_on] != UNKNOWN_SENTIMENT)
    sentiment = heads.sentiment
    if judge and judged.any():
        used_texts = judged | ~own[:n_texts]
        sentiment = _sentiment_correction(
            heads.sentiment,
            X_texts[used_texts],
            terms,
            rows.sentiments[fit_on][used_texts],
            np.where(judged, settings.weight, 0.0)[used_texts],
            np.where(judged, 0.0, settings.anchor)[used_texts],
            settings.own_c,
        )
    return Heads(_with_weights(labels, coef, intercept), sentiment)


def _with_topics(
    labels: MultilabelLogistic,
    X: Any,
    Y: np.ndarray,
    terms: np.ndarray,
    weights_of: Callable[[int], np.ndarray],
    material: Material,
    settings: Settings,
) -> MultilabelLogistic:
    """Let a new label's polarities begin at what its examples of all polarities have in common.

    Six words of praise say little of a topic that thirty examples show; what praise and blame
    sound like, the labels of the base have learnt.
    """
    n_polarities = len(POLARITIES)
    new: Any = material.origin.new[: Y.shape[1]].reshape(-1, n_polarities).all(axis=1)
    if not new.any():
        return labels
    known = np.flatnonzero(~new) * n_polarities
    leaning: Any = 0.0
    if len(known):
        praise, blame = (labels.coef_[known + p].mean(axis=0) for p in (_POSITIVE, _NEGATIVE))
        leaning = (praise - blame) / 2
    coef, intercept = labels.coef_.copy(), labels.intercept_.copy()
    for topic in np.flatnonzero(new):
        first = topic * n_polarities
        shown = [first + p for p in range(n_polarities) if Y[:, first + p].any()]
        if len(shown) < 2:
            continue
        truth, nothing = Y[:, shown].max(axis=1), np.zeros(len(Y))
        weight = weights_of(int(shown[0]))
        shared, shift = _correction(X, truth, nothing, weight, nothing, settings.new_c)
        for column in shown:
            coef[column, terms] = shared
            coef[column] += leaning * _LEANS[POLARITIES[column - first]]
            intercept[column] = shift
    return _with_weights(labels, coef, intercept)


def _balance(truth: np.ndarray) -> np.ndarray:
    """Weights by which both outcomes count the same, as the base's signals were learnt."""
    positives = max(int(truth.sum()), 1)
    negatives = max(len(truth) - positives, 1)
    return np.where(truth == 1, len(truth) / (2 * positives), len(truth) / (2 * negatives))


def _correction(
    X: Any,
    truth: np.ndarray,
    odds: np.ndarray,
    weight: np.ndarray,
    anchor: np.ndarray,
    C: float,
) -> tuple[np.ndarray, float]:
    """Find the change of weights and intercept of one logistic regression.

    Parameters
    ----------
    X : {array, csr_matrix} of shape (n_rows, n_features)
    truth : ndarray of shape (n_rows,)
    odds : ndarray of shape (n_rows,)
        By the weights as they are.
    weight : ndarray of shape (n_rows,)
        Of the error in a row.
    anchor : ndarray of shape (n_rows,)
        Penalty on a row's change of log-odds, squared.
    C : float
        Inverse of the L2 penalty on the change of the weights.
    """
    transposed = _transposed(X)

    def loss(change: np.ndarray) -> tuple[float, np.ndarray]:
        weights, shift = change[:-1], change[-1]
        moved = X @ weights + shift
        z = odds + moved
        error = weight * (expit(z) - truth) + anchor * moved
        value = (weight * (np.logaddexp(0, z) - truth * z) + anchor * moved**2 / 2).sum()
        gradient = np.append(transposed @ error + weights / C, error.sum())
        return value + weights @ weights / (2 * C), gradient

    found = _minimum(loss, X.shape[1] + 1)
    return found[:-1].astype(np.float32), float(found[-1])


def _sentiment_correction(
    regression: Any,
    X: Any,
    terms: np.ndarray,
    truth: np.ndarray,
    weight: np.ndarray,
    anchor: np.ndarray,
    C: float,
) -> Any:
    """Correct a regression over all of `SENTIMENTS`, likewise, in the weights of some terms."""
    odds = log_odds(regression, X)
    X = X[:, terms].astype(np.float64)
    # A row of the sample has weight 0, whatever its sentiment.
    target = np.eye(len(SENTIMENTS))[np.maximum(truth, 0)]
    gap = np.abs(softmax(odds, axis=1) - target).max(axis=1)
    if (gap[weight > 0] < _CONTRADICTED).all():
        return regression
    shape = (X.shape[1] + 1, len(SENTIMENTS))
    transposed = _transposed(X)
    weight, anchor = weight[:, None], anchor[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        change = flat.reshape(shape)
        moved = X @ change[:-1] + change[-1]
        z = odds + moved
        value = (anchor * moved**2 / 2 - weight * target * log_softmax(z, axis=1)).sum()
        error = weight * (softmax(z, axis=1) - target) + anchor * moved
        gradient = np.vstack([transposed @ error + change[:-1] / C, error.sum(axis=0)])
        return value + (change[:-1] ** 2).sum() / (2 * C), gradient.ravel()

    change = _minimum(loss, shape[0] * shape[1]).reshape(shape)
    coef = np.array(regression.coef_)
    coef[:, terms] += change[:-1].T
    return _with_weights(regression, coef, regression.intercept_ + change[-1])


def _transposed(X: Any) -> Any:
    flipped: Any = X.T
    return flipped.tocsr() if hasattr(flipped, "tocsr") else flipped


def _minimum(loss: Any, size: int) -> np.ndarray:
    options: Any = {"maxiter": 60, "ftol": 1e-5, "gtol": 1e-3}
    return minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options=options).x


# --- thresholds -----------------------------------------------------------------------------


def _decisions(
    base: Model, space: LabelSpace, origins: Origins, material: Material, settings: Settings
) -> dict[str, Decisions]:
    """Keep the base's calibration and thresholds, and set those of new labels out of fold.

    A taxonomy wholly of one's own has nothing to keep: everything is set out of fold.
    """
    new = material.origin.new
    learnt = np.flatnonzero(new & material.rows.text_labels.any(axis=0))
    if origins.fresh:
        columns = _columns(material, settings)
        views, order = _held_out_views(material, settings, columns)
        part = material.rows.subset(order)
        settled = {
            profile: decide(
                view,
                part,
                space,
                threshold_shrinkage=settings.threshold_shrinkage,
                review_share=settings.review_share,
            )
            for profile, view in views.items()
        }
        return {
            name: _with_signals_of(base, name, made, space, origins)
            for name, made in settled.items()
        }
    kept = {
        profile: carried_over(made, base, space, origins)
        for profile, made in base.decisions.items()
        if profile == FAST or material.vectors is not None
    }
    if not len(learnt) or material.n_own < _TEXTS_A_FOLD:
        return kept
    views, order = _held_out_views(material, settings, learnt, with_sample=True)
    part = material.rows.subset(order)
    # Nobody looked for the new labels in the sample, so what is found there counts less.
    weight = np.where(order < material.n_own, 1.0, _DOUBTFUL)[:, None]
    for profile, view in views.items():
        made = kept[profile]
        raw = combine(view, space, part.batch.owner)
        calibrated = made.calibration.apply(raw, space)
        for column in learnt:
            before = material.unlooked[:, column]
            doubted = np.array([i < material.n_own and before[i] for i in order])
            counted = np.where(doubted[:, None], _DOUBTFUL, weight)
            truth = part.text_labels[:, [column]]
            n = truth.sum()
            own = choose_threshold(calibrated[:, [column]], truth, FINE_THRESHOLDS, counted)
            share = n / (n + settings.threshold_shrinkage)
            for mode in MODES:
                common = made.thresholds[mode][column]
                made.thresholds[mode][column] = round(
                    share * own + (1 - share) * common if mode == BALANCED else common, 4
                )
            made.thresholds[MODES[0]][column] = min(
                made.thresholds[MODES[0]][column], made.thresholds[BALANCED][column]
            )
            made.thresholds[MODES[2]][column] = max(
                made.thresholds[MODES[2]][column], made.thresholds[BALANCED][column]
            )
    return kept


def carried_over(made: Decisions, base: Model, space: LabelSpace, origins: Origins) -> Decisions:
    """Thresholds of the base; a new label gets the middle one of its kind and polarity."""
    thresholds = {}
    for mode, values in made.thresholds.items():
        by_kind: dict[tuple[str, str], list[float]] = {}
        for column, name in enumerate(base.space.names):
            by_kind.setdefault(_kind(name), []).append(float(values[column]))
        moved = np.empty(len(space.names))
        for column, name in enumerate(space.names):
            old = _base_columns(name, base.space, origins)
            same_kind = by_kind.get(_kind(name), [0.5])
            moved[column] = np.mean(values[old]) if old else np.median(same_kind)
        thresholds[mode] = moved
    return Decisions(made.calibration, thresholds, made.doubt)


def _with_signals_of(
    base: Model, profile: str, made: Decisions, space: LabelSpace, origins: Origins
) -> Decisions:
    """Keep the base's calibration and thresholds of signals, which are anyone's."""
    before = base.decisions[profile]
    signals = space.slices["signal"]
    carried = carried_over(before, base, space, origins).thresholds
    for mode, values in made.thresholds.items():
        values[signals] = carried[mode][signals]
    return Decisions(
        Calibration(
            {**made.calibration.slope, "signal": before.calibration.slope["signal"]},
            {**made.calibration.intercept, "signal": before.calibration.intercept["signal"]},
        ),
        made.thresholds,
        made.doubt,
    )


def _kind(name: str) -> tuple[str, str]:
    kind, _, rest = name.partition(":")
    return kind, rest.partition(":")[2]


def _held_out_views(
    material: Material,
    settings: Settings,
    columns: np.ndarray,
    progress: Progress = lambda _: None,
    *,
    with_sample: bool = False,
) -> tuple[dict[str, View], np.ndarray]:
    """Views of the decisions by models that did not see them, and the order of their texts.

    With `with_sample` also those of the sample's texts.
    """
    n_groups = len(set(material.group.tolist()))
    folds = min(settings.folds, n_groups)
    own = np.arange(material.n_own)
    sample = np.arange(material.n_own, len(material.rows.batch.texts))
    splits = (
        [(own, own)]  # a single text has no other to be judged by
        if folds < 2
        else list(GroupKFold(folds).split(own, groups=material.group))
    )
    parts: dict[str, list[View]] = {}
    orders: list[np.ndarray] = []
    for number, (fit_on, own_part) in enumerate(splits, start=1):
        apart = sample[number - 1 :: len(splits)] if with_sample else sample[:0]
        held_out = np.concatenate([own_part, apart])
        learnt_from = np.concatenate([fit_on, np.setdiff1d(sample, apart)])
        orders.append(held_out)
        # Thresholds of labels need no sentiment.
        sparse, dense = refit(material, learnt_from, settings, columns, sentiment=not with_sample)
        clauses = material.rows.clauses_of(held_out)
        matrices, vectors = material.matrices, material.vectors
        view = View.of(sparse, matrices.texts[held_out], matrices.clauses[clauses])
        parts.setdefault(FAST, []).append(view)
        if vectors is not None and dense is not None:
            other = View.of(dense, vectors.texts[held_out], vectors.clauses[clauses])
            parts.setdefault(ACCURATE, []).append(view.mean(other))
        progress(f"cross-validation {number} of {len(splits)} done")
    order = np.concatenate(orders)
    return {
        profile: View(
            np.vstack([v.texts for v in views]),
            np.vstack([v.clauses for v in views]),
            np.vstack([v.sentiments for v in views]),
        )
        for profile, views in parts.items()
    }, order
