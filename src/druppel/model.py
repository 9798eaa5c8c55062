"""The scikit-learn estimators, and the bundle of them that makes a model.

The whole text and each of its clauses are scored by the same weights. A text's probability of
a label is the mean of its own and of its strongest clause's; that clause is the evidence. In the
profile with the encoder, what the words say and what the vectors say is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from druppel.encoder import Encoder
from druppel.features import Batch, FeatureMatrices, TextFeatures
from druppel.result import POLARITIES
from druppel.taxonomy import Taxonomy

KINDS = ("leaf", "category", "signal")
"""The kinds of label, each with a calibration of its own."""

PROFILES = ACCURATE, FAST = ("nauwkeurig", "snel")
"""With the encoder, and with words and characters only."""

MODES = ("ruim", "gebalanceerd", "streng")
"""Operating points: recall of nine in ten, best F1, precision of nine in ten."""

BALANCED = MODES[1]

_TINY = 1e-6


class MultilabelLogistic(ClassifierMixin, BaseEstimator):
    """Independent logistic regressions for many labels, kept as one weight matrix.

    Fitting is scikit-learn's `LogisticRegression` label by label; scoring is a single product,
    which is what makes a hundred labels cheap.

    Parameters
    ----------
    C : float, default=1.0
        Inverse of the L2 penalty.
    balanced : bool, default=False
        Weigh the positive and the negative rows of a label equally.
    min_positives : int, default=1
        A label with fewer positive rows gets its base rate as constant probability.
    tol : float, default=0.01
    max_iter : int, default=500
    random_state : int, default=0
        Seeds the order in which the dual solver visits the rows.

    Attributes
    ----------
    classes_ : ndarray
        Column numbers for an indicator matrix, else the classes.
    coef_ : ndarray of shape (n_labels, n_features)
    intercept_ : ndarray of shape (n_labels,)
    n_iter_ : int
        Most iterations that a label took.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    >>> Y = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
    >>> MultilabelLogistic(C=100.0).fit(X, Y).predict(X).tolist()
    [[0, 1], [1, 0], [1, 1], [0, 0]]
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        balanced: bool = False,
        min_positives: int = 1,
        tol: float = 0.01,
        max_iter: int = 500,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.balanced = balanced
        self.min_positives = min_positives
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MultilabelLogistic:
        """Fit one regression a label.

        Parameters
        ----------
        X : {array, sparse matrix} of shape (n_rows, n_features)
        y : indicator array of shape (n_rows, n_labels), or classes of shape (n_rows,)
        """
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, dtype=[np.float64, np.float32]
        )
        check_classification_targets(y)
        if type_of_target(y).startswith("multilabel"):
            return self.fit_indicator(X, y)
        y = column_or_1d(y, warn=True)
        binarizer = LabelBinarizer().fit(y)
        if len(binarizer.classes_) < 2:
            msg = "y holds 1 class; a classifier needs at least 2 classes."
            raise ValueError(msg)
        self._fit_targets(X, binarizer.transform(y))
        self.multilabel_ = False
        self.classes_ = binarizer.classes_
        return self

    def fit_indicator(self, X: Any, Y: np.ndarray) -> MultilabelLogistic:
        """Fit on an indicator matrix, also one of a single column, unchecked.

        scikit-learn takes a single column for plain classes, and `fit` follows it.
        """
        self._fit_targets(X, np.asarray(Y))
        self.multilabel_ = True
        self.classes_ = np.arange(Y.shape[1])
        self.n_features_in_ = X.shape[1]
        return self

    def _fit_targets(self, X: Any, targets: np.ndarray) -> None:
        if hasattr(X, "sort_indices"):
            X.sum_duplicates()
            X.sort_indices()
        # One after the other: liblinear's random numbers are global, so threads would make the
        # outcome depend on their timing. Its dual solver is fast enough without them.
        fitted = [self._fit_label(X, targets[:, j]) for j in range(targets.shape[1])]
        self.coef_ = np.array([coef for coef, _, _ in fitted], dtype=np.float32)
        self.intercept_ = np.array([intercept for _, intercept, _ in fitted], dtype=np.float32)
        self.n_iter_ = max(n_iter for _, _, n_iter in fitted)

    def _fit_label(self, X: Any, target: np.ndarray) -> tuple[np.ndarray, float, int]:
        positives = int(target.sum())
        if positives < max(self.min_positives, 1) or positives == len(target):
            rate = (positives + 0.5) / (len(target) + 1)
            return np.zeros(X.shape[1], dtype=np.float32), float(logit(rate)), 1
        regression = LogisticRegression(
            C=self.C,
            solver="liblinear",
            dual=True,
            class_weight="balanced" if self.balanced else None,
            tol=self.tol,
            max_iter=self.max_iter,
            random_state=self.random_state,
        ).fit(X, target)
        n_iter = int(regression.n_iter_[0])
        return regression.coef_[0], float(regression.intercept_[0]), n_iter

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of shape (n_rows, n_labels); of shape (n_rows,) for two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        odds = np.asarray(X @ self.coef_.T) + self.intercept_
        return odds[:, 0] if not self.multilabel_ and len(self.classes_) == 2 else odds

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each label (independent), or of each class (adding up to one)."""
        probability = expit(self.decision_function(X))
        if self.multilabel_:
            return probability
        if probability.ndim == 1:
            return np.column_stack([1 - probability, probability])
        return probability / probability.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Labels with odds above even as an indicator array, or the likeliest class."""
        odds = self.decision_function(X)
        if self.multilabel_:
            return (odds > 0).astype(int)
        if odds.ndim == 1:
            return self.classes_[(odds > 0).astype(int)]
        return self.classes_[odds.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


@dataclass(frozen=True)
class LabelSpace:
    """Which column of the weight matrix stands for which label.

    Columns run over the leaves, then the categories (both times every polarity), then the
    signals.
    """

    leaves: tuple[str, ...]
    categories: tuple[str, ...]
    signals: tuple[str, ...]
    category_of_leaf: tuple[int, ...]

    @classmethod
    def of(cls, taxonomy: Taxonomy) -> LabelSpace:
        """Lay out the labels of a taxonomy."""
        categories = tuple(c.slug for c in taxonomy.categories)
        return cls(
            leaves=tuple(leaf.slug for leaf in taxonomy.leaves),
            categories=categories,
            signals=tuple(s.slug for s in taxonomy.signals),
            category_of_leaf=tuple(
                categories.index(taxonomy.parent[leaf.slug]) for leaf in taxonomy.leaves
            ),
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, such as ``leaf:keuzemenu:neg`` and ``signal:vertrek``."""
        return (
            *(f"leaf:{leaf}:{p}" for leaf in self.leaves for p in POLARITIES),
            *(f"category:{category}:{p}" for category in self.categories for p in POLARITIES),
            *(f"signal:{signal}" for signal in self.signals),
        )

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Columns of each kind."""
        n_leaf = len(self.leaves) * len(POLARITIES)
        n_category = len(self.categories) * len(POLARITIES)
        n = n_leaf + n_category + len(self.signals)
        return {
            "leaf": slice(0, n_leaf),
            "category": slice(n_leaf, n_leaf + n_category),
            "signal": slice(n_leaf + n_category, n),
        }

    def leaf(self, leaf: int, polarity: int) -> int:
        """Column of a leaf (by its number) and polarity (by its number)."""
        return leaf * len(POLARITIES) + polarity

    def category(self, category: int, polarity: int) -> int:
        """Column of a category and polarity."""
        return self.slices["category"].start + category * len(POLARITIES) + polarity


@dataclass(frozen=True)
class Probabilities:
    """What a model thinks of a batch.

    Attributes
    ----------
    texts : ndarray of shape (n_texts, n_labels)
        Calibrated probability of each label of the `LabelSpace`.
    clauses : ndarray of shape (n_clauses, n_labels)
        Uncalibrated probability per clause: good for choosing among the clauses of a text.
    sentiments : ndarray of shape (n_texts, 4)
        In the order of `SENTIMENTS`.
    known : ndarray of shape (n_texts,)
        Share of a text's words that the model has seen in training.
    """

    texts: np.ndarray
    clauses: np.ndarray
    sentiments: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Platt scaling of the mean of text and clause probability, one curve a kind of label.

    Platt (1999), Probabilistic outputs for support vector machines.
    """

    slope: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    intercept: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))

    def apply(self, probability: np.ndarray, space: LabelSpace) -> np.ndarray:
        """Calibrate probabilities of shape (n_texts, n_labels)."""
        odds = logit(np.clip(probability, _TINY, 1 - _TINY))
        calibrated = np.empty_like(odds)
        for kind, columns in space.slices.items():
            calibrated[:, columns] = expit(
                self.slope[kind] * odds[:, columns] + self.intercept[kind]
            )
        return calibrated


@dataclass(frozen=True)
class Decisions:
    """How a profile's probabilities become labels.

    Attributes
    ----------
    calibration : Calibration
    thresholds : dict of str to ndarray of shape (n_labels,)
        For each of `MODES`, the calibrated probability from which a label is given.
    doubt : float
        Expected number of wrong decisions (see `expected_errors`) from which a text is marked
        for review.
    """

    calibration: Calibration
    thresholds: dict[str, np.ndarray]
    doubt: float


@dataclass(frozen=True)
class Heads:
    """The regressions that sit on one view of the texts.

    Attributes
    ----------
    labels : MultilabelLogistic
        Over the columns of the `LabelSpace`.
    sentiment : LogisticRegression
        Over `SENTIMENTS`, in their order, as classes 0 to 3.
    """

    labels: MultilabelLogistic
    sentiment: LogisticRegression


@dataclass(frozen=True)
class View:
    """Probabilities by one pair of heads, of a batch's texts and clauses."""

    texts: np.ndarray
    clauses: np.ndarray
    sentiments: np.ndarray

    @classmethod
    def of(cls, heads: Heads, texts: Any, clauses: Any) -> View:
        """Apply heads to the features (or vectors) of texts and clauses."""
        return cls(
            texts=expit(log_odds(heads.labels, texts)),
            clauses=expit(log_odds(heads.labels, clauses)),
            sentiments=softmax(log_odds(heads.sentiment, texts), axis=1),
        )

    def mean(self, other: View) -> View:
        """Average with another view of the same batch."""
        return View(
            (self.texts + other.texts) / 2,
            (self.clauses + other.clauses) / 2,
            (self.sentiments + other.sentiments) / 2,
        )


def log_odds(regression: MultilabelLogistic | LogisticRegression, X: Any) -> np.ndarray:
    """Log-odds, each row's the same to the bit whatever the other rows are.

    A product by BLAS rounds a row differently in other company, and a label that is just given
    would come and go with it; a sparse product and `einsum` go row by row.
    """
    coef: Any = regression.coef_
    if sp.issparse(X):
        return np.asarray(X @ coef.T) + regression.intercept_
    weights = np.ascontiguousarray(coef, dtype=X.dtype)
    return np.asarray(np.einsum("ij,kj->ik", X, weights) + regression.intercept_)


@dataclass(frozen=True)
class Model:
    """Everything needed to label texts; made by `training`, kept by `store`.

    Attributes
    ----------
    name, version : str
    taxonomy : Taxonomy
    features : TextFeatures
    sparse : Heads
        On the features.
    encoder : Encoder or None
        None for a model without, or opened with the profile ``snel``.
    dense : Heads or None
        On the encoder's vectors.
    decisions : dict of str to Decisions
        By profile.
    """

    name: str
    version: str
    taxonomy: Taxonomy
    features: TextFeatures
    sparse: Heads
    encoder: Encoder | None
    dense: Heads | None
    decisions: dict[str, Decisions]

    @property
    def title(self) -> str:
        """Name and version, as results bear it."""
        return f"{self.name} {self.version}"

    @property
    def profile(self) -> str:
        """The one of `PROFILES` by which this model scores."""
        return FAST if self.encoder is None else ACCURATE

    @cached_property
    def space(self) -> LabelSpace:
        """Layout of the labels."""
        return LabelSpace.of(self.taxonomy)

    def thresholds(self, mode: str = BALANCED) -> np.ndarray:
        """Probability from which each label is given, of shape (n_labels,)."""
        return self.decisions[self.profile].thresholds[mode]

    def view(self, batch: Batch, matrices: FeatureMatrices) -> View:
        """Return the uncalibrated probabilities of a batch: the mean of words and vectors."""
        view = View.of(self.sparse, matrices.texts, matrices.clauses)
        if self.encoder is None or self.dense is None:  # a model has both or neither
            return view
        vectors = self.encoder.encode(batch)
        return view.mean(View.of(self.dense, vectors.texts, vectors.clauses))

    def score(self, batch: Batch) -> Probabilities:
        """Return the probabilities of every label for a batch of texts."""
        matrices = self.features.transform(batch)
        view = self.view(batch, matrices)
        raw = combine(view, self.space, batch.owner)
        return Probabilities(
            texts=self.decisions[self.profile].calibration.apply(raw, self.space),
            clauses=view.clauses,
            sentiments=view.sentiments,
            known=matrices.known,
        )


def combine(view: View, space: LabelSpace, owner: np.ndarray) -> np.ndarray:
    """Combine what text, clauses, leaves and categories say into one probability a label.

    A label's probability is the mean of the text's own and of its strongest clause's. A
    category then is the mean of its own and of its strongest leaf's; a leaf is the geometric
    mean of its own and its category's, so that a leaf is not sure where its category is not.

    Parameters
    ----------
    view : View
    space : LabelSpace
    owner : ndarray of shape (n_clauses,)
        Row of the text that each clause belongs to.

    Returns
    -------
    ndarray of shape (n_texts, n_labels)
        Not yet calibrated.
    """
    strongest = np.zeros_like(view.texts)
    np.maximum.at(strongest, owner, view.clauses)
    combined = (view.texts + strongest) / 2
    n_texts, n_polarities = len(combined), len(POLARITIES)
    leaf_view = combined[:, space.slices["leaf"]].reshape(n_texts, -1, n_polarities)
    category_view = combined[:, space.slices["category"]].reshape(n_texts, -1, n_polarities)
    of_leaf = np.array(space.category_of_leaf)
    best_leaf = np.zeros_like(category_view)
    for leaf_number, category_number in enumerate(space.category_of_leaf):
        np.maximum(
            best_leaf[:, category_number],
            leaf_view[:, leaf_number],
            out=best_leaf[:, category_number],
        )
    category = (category_view + best_leaf) / 2
    leaf = np.sqrt(leaf_view * category[:, of_leaf])
    combined[:, space.slices["leaf"]] = leaf.reshape(n_texts, -1)
    combined[:, space.slices["category"]] = category.reshape(n_texts, -1)
    return combined


def expected_errors(
    probability: np.ndarray, thresholds: np.ndarray, sentiments: np.ndarray, space: LabelSpace
) -> np.ndarray:
    """Expected number of wrong categories of each text, plus the doubt about its sentiment.

    A category that is given is wrong with one minus its probability, and one that is not given
    with its probability.

    Parameters
    ----------
    probability : ndarray of shape (n_texts, n_labels)
        Calibrated.
    thresholds : ndarray of shape (n_labels,)
    sentiments : ndarray of shape (n_texts, 4)
    space : LabelSpace
    """
    columns = space.slices["category"]
    p = probability[:, columns]
    wrong = np.where(p >= thresholds[columns], 1 - p, p)
    return wrong.sum(axis=1) + 1 - sentiments.max(axis=1)
