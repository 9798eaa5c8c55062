"""Figures of a model on labelled texts: F1 per view, calibration, intervals.

The views and the averaging follow the annotation guide's scoring: a category counts as an
irritation when it carries a negative aspect; "macro" averages the labels that occur at least
`MIN_SUPPORT` times in the gold annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from druppel.corpus import LabelledText
from druppel.result import Result
from druppel.taxonomy import Taxonomy

MIN_SUPPORT = 5
VIEWS = ("irritation", "leaf", "aspect", "sentiment", "signal")
_DRAWS = 500
_BINS = 10
_REVIEW_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
_HALF = 0.5


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over texts."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelFigure:
    """Precision, recall and F1 of one label; `support` is its count in the gold annotation.

    `low` and `high` are the 95 % bootstrap interval of the F1.
    """

    label: str
    precision: float
    recall: float
    f1: float
    low: float
    high: float
    support: int


@dataclass(frozen=True)
class ReviewPoint:
    """What is left when the most doubtful texts go to a person.

    Attributes
    ----------
    share : float
        Of the texts that go to a person.
    irritation : float
        Micro F1 of the irritations of the other texts.
    sentiment : float
        Accuracy of the sentiment of the other texts.
    """

    share: float
    irritation: float
    sentiment: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on a set of labelled texts.

    Attributes
    ----------
    n_texts : int
    figures : dict of str to Figure
        ``"irritation.micro"``, ``"irritation.macro"`` and so on for each of `VIEWS`,
        ``"sentiment.accuracy"``, and ``"evidence.overlap"``: the share of rightly found leaves
        whose evidence holds at least half of the annotated evidence (absent where none of them
        has its evidence annotated).
    labels : dict of str to tuple of LabelFigure
        By view, most frequent first.
    review_share : float
        Share of texts marked for review.
    precision, recall : float
        Of the irritations, micro-averaged.
    """

    n_texts: int
    figures: dict[str, Figure]
    labels: dict[str, tuple[LabelFigure, ...]]
    review_share: float
    precision: float
    recall: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, rounded to four decimals."""
        return {
            "n_texts": self.n_texts,
            "review_share": round(self.review_share, 4),
            "precision": round(self.precision, 4),
            "recall": round(self.recall, 4),
            "figures": {
                name: [round(f.value, 4), round(f.low, 4), round(f.high, 4)]
                for name, f in self.figures.items()
            },
            "labels": {
                view: {
                    f.label: {
                        "precision": round(f.precision, 4),
                        "recall": round(f.recall, 4),
                        "f1": [round(f.f1, 4), round(f.low, 4), round(f.high, 4)],
                        "support": f.support,
                    }
                    for f in rows
                }
                for view, rows in self.labels.items()
            },
        }


@dataclass(frozen=True)
class ProfileFigures:
    """Everything measured of one profile on held-out texts.

    Attributes
    ----------
    modes : dict of str to Evaluation
    calibration_error : float
        Of the categories' probabilities.
    review_curve : tuple of ReviewPoint
        In the balanced mode.
    """

    modes: dict[str, Evaluation]
    calibration_error: float
    review_curve: tuple[ReviewPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "modes": {mode: figures.to_dict() for mode, figures in self.modes.items()},
            "calibration_error": self.calibration_error,
            "review_curve": [
                [point.share, round(point.irritation, 4), round(point.sentiment, 4)]
                for point in self.review_curve
            ],
        }


def evaluate(
    gold: Sequence[LabelledText],
    results: Sequence[Result],
    taxonomy: Taxonomy,
    *,
    random_state: int = 0,
) -> Evaluation:
    """Compare results with the gold annotation of the same texts, in the same order.

    Parameters
    ----------
    gold : sequence of LabelledText
    results : sequence of Result
    taxonomy : Taxonomy
    random_state : int, default=0
        Seeds the bootstrap.
    """
    draws = np.random.default_rng(random_state).multinomial(
        len(gold), np.full(len(gold), 1 / len(gold)), size=_DRAWS
    )
    weights = np.vstack([np.ones(len(gold), dtype=int), draws])
    figures: dict[str, Figure] = {}
    labels: dict[str, tuple[LabelFigure, ...]] = {}
    for view in VIEWS:
        said = [_gold_view(text, view, taxonomy) for text in gold]
        found = [_result_view(result, view) for result in results]
        names = sorted(set().union(*said, *found))
        truth, guess = _indicator(said, names), _indicator(found, names)
        # A sentiment that nobody judged is neither right nor wrong.
        judged = np.array([view != "sentiment" or t.sentiment is not None for t in gold])
        counted = weights * judged
        hits = counted @ (truth & guess)
        false = counted @ (~truth & guess)
        missed = counted @ (truth & ~guess)
        figures[f"{view}.micro"] = _figure(
            f1(hits.sum(axis=1), false.sum(axis=1), missed.sum(axis=1))
        )
        figures[f"{view}.macro"] = _figure(macro_f1(hits, false, missed))
        if view == "irritation":
            totals = hits[0].sum(), false[0].sum(), missed[0].sum()
        if view == "sentiment":
            right = (truth == guess).all(axis=1)
            total = np.maximum(counted.sum(axis=1), 1)
            figures["sentiment.accuracy"] = _figure(counted @ right / total)
        spread = [_figure(column) for column in f1(hits, false, missed).T]
        rows = [
            LabelFigure(
                label=name,
                precision=_ratio(hits[0, j], hits[0, j] + false[0, j]),
                recall=_ratio(hits[0, j], hits[0, j] + missed[0, j]),
                f1=spread[j].value,
                low=spread[j].low,
                high=spread[j].high,
                support=int(hits[0, j] + missed[0, j]),
            )
            for j, name in enumerate(names)
        ]
        labels[view] = tuple(sorted(rows, key=lambda row: (-row.support, row.label)))
    evidence = _evidence(gold, results, weights)
    if evidence is not None:
        figures["evidence.overlap"] = evidence
    return Evaluation(
        n_texts=len(gold),
        figures=figures,
        labels=labels,
        review_share=float(np.mean([result.review for result in results])),
        precision=_ratio(totals[0], totals[0] + totals[1]),
        recall=_ratio(totals[0], totals[0] + totals[2]),
    )


def review_curve(
    gold: Sequence[LabelledText],
    results: Sequence[Result],
    doubts: np.ndarray,
    taxonomy: Taxonomy,
) -> tuple[ReviewPoint, ...]:
    """Figures of the texts that remain when the most doubtful ones go to a person.

    Parameters
    ----------
    gold, results : sequences of the same length
    doubts : ndarray of shape (n_texts,)
        Higher is more doubtful.
    taxonomy : Taxonomy
    """
    order = np.argsort(doubts, kind="stable")
    said = [_gold_view(text, "irritation", taxonomy) for text in gold]
    found = [_result_view(result, "irritation") for result in results]
    right = [
        _result_view(r, "sentiment") == _gold_view(g, "sentiment", taxonomy)
        for r, g in zip(results, gold, strict=True)
    ]
    points = []
    for share in _REVIEW_SHARES:
        kept = order[: max(round((1 - share) * len(order)), 1)]
        hits = sum(len(said[i] & found[i]) for i in kept)
        false = sum(len(found[i] - said[i]) for i in kept)
        missed = sum(len(said[i] - found[i]) for i in kept)
        points.append(
            ReviewPoint(
                share=share,
                irritation=float(f1(hits, false, missed)),
                sentiment=float(np.mean([right[i] for i in kept])),
            )
        )
    return tuple(points)


def calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over ten bins of equal width.

    Naeini, Cooper and Hauskrecht (2015), Obtaining well calibrated probabilities using
    Bayesian binning.

    Parameters
    ----------
    probability, truth : ndarray of the same shape

    Examples
    --------
    >>> calibration_error(np.array([0.9, 0.1]), np.array([1, 0]))
    0.1
    """
    bins = np.minimum((probability.ravel() * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for b in range(_BINS):
        inside = bins == b
        if inside.any():
            gap = abs(probability.ravel()[inside].mean() - truth.ravel()[inside].mean())
            error += inside.mean() * gap
    return round(float(error), 6)


def f1(hits: Any, false: Any, missed: Any) -> Any:
    """F1 of counts of any shape, and 1 where there was nothing to find and nothing was claimed.

    Examples
    --------
    >>> f1(np.array([3, 0]), np.array([1, 0]), np.array([1, 0])).tolist()
    [0.75, 1.0]
    """
    total = 2 * hits + false + missed
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)


def macro_f1(hits: np.ndarray, false: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """Mean F1 of the labels that occur at least `MIN_SUPPORT` times.

    Parameters
    ----------
    hits, false, missed : ndarray of shape (n_draws, n_labels)

    Returns
    -------
    ndarray of shape (n_draws,)
        0 where no label occurs often enough.
    """
    common = hits + missed >= MIN_SUPPORT
    scores = np.where(common, f1(hits, false, missed), 0.0)
    return scores.sum(axis=1) / np.maximum(common.sum(axis=1), 1)


def _gold_view(text: LabelledText, view: str, taxonomy: Taxonomy) -> set[str]:
    parent = taxonomy.parent
    if view == "irritation":
        return {parent[a.leaf] for a in text.aspects if a.polarity == "neg"}
    if view == "leaf":
        return {a.leaf for a in text.aspects if a.polarity == "neg"}
    if view == "aspect":
        return {f"{parent[a.leaf]}:{a.polarity}" for a in text.aspects}
    if view == "sentiment":
        return {text.sentiment} if text.sentiment else set()
    return set(text.signals)


def _result_view(result: Result, view: str) -> set[str]:
    if view == "irritation":
        return set(result.irritations)
    if view == "leaf":
        return {a.leaf for a in result.aspects if a.polarity == "neg" and a.leaf is not None}
    if view == "aspect":
        return {f"{a.category}:{a.polarity}" for a in result.aspects}
    if view == "sentiment":
        return {result.sentiment.label} if result.sentiment else set()
    return {signal.signal for signal in result.signals}


def _evidence(
    gold: Sequence[LabelledText], results: Sequence[Result], weights: np.ndarray
) -> Figure | None:
    """Share of rightly found leaves whose evidence holds half of what the annotator quoted."""
    right = np.zeros(len(gold), dtype=int)
    total = np.zeros(len(gold), dtype=int)
    for i, (text, result) in enumerate(zip(gold, results, strict=True)):
        found = {(a.leaf, a.polarity): a for a in result.aspects}
        for aspect in text.aspects:
            match = found.get((aspect.leaf, aspect.polarity))
            if aspect.evidence is None or match is None:
                continue
            start = text.text.index(aspect.evidence)
            shared = min(match.end, start + len(aspect.evidence)) - max(match.start, start)
            right[i] += shared >= _HALF * len(aspect.evidence)
            total[i] += 1
    if not total.any():
        return None
    return _figure((weights @ right) / np.maximum(weights @ total, 1))


def _indicator(rows: Sequence[set[str]], names: Sequence[str]) -> np.ndarray:
    return np.array([[name in row for name in names] for row in rows], dtype=bool).reshape(
        len(rows), len(names)
    )


def _figure(values: np.ndarray) -> Figure:
    """Value on the whole set (first) with the interval of the draws (the rest)."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Figure(float(values[0]), float(low), float(high))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
