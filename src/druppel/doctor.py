"""What spoils training data: it is looked for among the decisions, and what to do is said.

A decision is held against what models that learnt from the others think of its text, label by
label (confident learning: Northcutt, Jiang & Chuang 2021, J. Artif. Intell. Res. 70; for several
labels a text: Thyagarajan, Snorrason, Northcutt & Mueller 2022, arXiv:2211.13895). And against
the other decisions: the same text should have the same labels.

Everything found is a suspicion. Nothing here changes a decision: the findings go into a sheet,
and what a person makes of them is a new decision.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import fisher_exact, poisson
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GroupKFold

from druppel import retraining
from druppel.corpus import NEAR_DUPLICATE, GoldAspect, LabelledText
from druppel.corrections import MEASUREMENT, TRAINING, Decision, labelled_texts
from druppel.model import ACCURATE, BALANCED, FAST, LabelSpace, Model, View, combine
from druppel.result import POLARITIES, SENTIMENTS
from druppel.retraining import OutOfFold, Settings
from druppel.review import ENOUGH, QueueItem, as_result
from druppel.targets import text_labels
from druppel.taxonomy import Taxonomy
from druppel.training import choose_threshold

SAME_TEXT = "dubbel"
MISSING = "ontbreekt"
WRONG = "onterecht"
POLARITY = "polariteit"
SENTIMENT = "sentiment"
CONTRADICTION = "tegenspraak"
EVIDENCE = "bewijs"
LEAK = "lek"
KINDS = (SAME_TEXT, MISSING, WRONG, POLARITY, SENTIMENT, CONTRADICTION, EVIDENCE, LEAK)
"""What can be found about one decision: the same text has other labels elsewhere; a label is
missing, does not belong, or has the wrong polarity; the sentiment is unlikely, or contradicts the
aspects; a long text lacks evidence; a text to measure by is nearly one that was learnt from."""

DOUBTS = (MISSING, WRONG, POLARITY, SENTIMENT)
"""The kinds by which a model contradicts a decision."""

MEASURED, ESTIMATED, RULE_OF_THUMB = BASES = ("gemeten", "schatting", "vuistregel")
"""What the number of examples that is needed rests on: a learning curve, one F1, or neither."""

TARGET = 0.6
"""F1 from which a label counts as learnt."""

MIN_EXAMPLES = 10
"""Examples, of decisions and base together, below which a model's opinion of a label is nothing."""

# F1 = ceiling - slope / n ** exponent, the shape of learning curves (Cortes et al. 1994). Fitted
# to eight leaves of the shipped corpus that were learnt as new ones, from 5 to 62 examples. From
# curves up to 20 examples it foretold the F1 at 37 to 62 within 0.04 (root mean square).
_CEILING, _SLOPE, _EXPONENT = 0.9, 2.05, 0.5
_MOST_NEEDED = 200
_FITTED = 2 / 3  # share of the decisions that models out of fold learnt from
_MIN_FOR_F1 = 10  # positive texts from which one F1 says something
_SIZES = (5, 10, 20, 40)

_LEAST_PRESENT = 0.25  # a label of whose presence models are never sure is not judged
_LEAST_MARGIN, _HALF, _SURE = 0.1, 0.5, 0.01
_PRIOR = 5  # examples that the mean threshold of a kind counts for
_MIN_WORDS = 5  # of fewer, many customers use the same
_NEARLY_EQUAL = 0.9
_SCORES_DIFFER = 3
_LONG = 25  # words
_LEAST_RARITY = 0.5
_CONTRADICTS, _EQUAL, _NEARLY, _SHIPPED = 0.8, 0.9, 0.6, 0.7  # how sure such a finding is
_OTHERS = 0.25

_MIN_CONFUSED, _MIN_CONFUSED_SHARE, _CHANCE = 3, 0.1, 0.01
_MIN_SHARED, _MIN_JUDGED = 10, 30
_OFTEN_DIFFERENT = 0.3
_FAR_MORE = 2.0
_CHUNK = 500

# Words, and the little pictures that can be all that tells praise from scorn.
_WORDS = re.compile(r"\w+|[:;=]-?[()]|[\u2600-\u27bf\U0001f000-\U0001faff]")
_TURNS = frozenset(
    ("niet", "geen", "nooit", "niets", "niks", "niemand", "nergens", "zonder", "wel")
)
_WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """A suspicion about one decision.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    row : int
        Place of the decision among those examined.
    number : str
        Of the decision in the history.
    advice : str
        In Dutch; it holds no words of the text.
    gain : float
        What mending it is worth, from 0 to 1: how sure it is, times how rare the label is.
    label : str or None
        ``leaf:polarity`` or the slug of a signal; None where it is about no label.
    probability : float or None
        Out of fold, of the label or sentiment that the decision has or should have.
    """

    kind: str
    row: int
    number: str
    advice: str
    gain: float
    label: str | None = None
    probability: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "kind": self.kind,
            "number": self.number,
            "label": self.label,
            "probability": None if self.probability is None else round(self.probability, 4),
            "gain": round(self.gain, 4),
            "advice": self.advice,
        }


@dataclass(frozen=True)
class Curve:
    """How well a label is found by number of examples, on texts that were not learnt from.

    Attributes
    ----------
    sizes : tuple of int
        Texts with the label that were learnt from, ascending.
    f1 : tuple of float
        For each size.
    n_positive : int
        Texts with the label that the F1 is measured on.
    """

    sizes: tuple[int, ...]
    f1: tuple[float, ...]
    n_positive: int

    def needed(self, target: float = TARGET) -> int | None:
        """Examples at which the F1 is `target`, extrapolated; None for very many.

        A curve ``ceiling - slope / n ** exponent`` is drawn through the points, the larger sizes
        weighing more. Few points cannot tell three numbers: ceiling and exponent are those of
        labels of the shipped corpus, only the slope is the label's own.

        Examples
        --------
        >>> Curve((5, 10, 20), (0.05, 0.2, 0.45), 30).needed()
        50
        """
        sizes = np.array(self.sizes, dtype=float)
        shrinking = sizes**-_EXPONENT
        weight = sizes * shrinking
        below = _CEILING - np.array(self.f1)
        slope = max(float((weight * below).sum() / (weight * shrinking).sum()), 1e-6)
        return _rounded((slope / (_CEILING - target)) ** (1 / _EXPONENT))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "sizes": list(self.sizes),
            "f1": [round(value, 4) for value in self.f1],
            "n_positive": self.n_positive,
        }


@dataclass(frozen=True)
class SmallLabel:
    """A leaf or signal with too few examples to be learnt.

    Attributes
    ----------
    label : str
        Slug.
    n_examples : int
        Texts to learn from that bear it, of decisions and base.
    f1 : float or None
        Out of fold, by the decisions; None where too few bear it.
    needed : int or None
        Examples needed, about; None for more than can be said.
    basis : str
        One of `BASES`.
    curve : Curve or None
    """

    label: str
    n_examples: int
    f1: float | None
    needed: int | None
    basis: str
    curve: Curve | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "label": self.label,
            "n_examples": self.n_examples,
            "f1": None if self.f1 is None else round(self.f1, 4),
            "needed": self.needed,
            "basis": self.basis,
            "curve": None if self.curve is None else self.curve.to_dict(),
        }


@dataclass(frozen=True)
class Confusion:
    """Two leaves that are taken for each other.

    Attributes
    ----------
    first, second : str
        Slugs.
    as_second : int
        Texts that bear the first and not the second, where the second is found and the first is
        not.
    as_first : int
        The other way about.
    n_texts : int
        Texts that bear exactly one of the two.
    """

    first: str
    second: str
    as_second: int
    as_first: int
    n_texts: int

    @property
    def count(self) -> int:
        """Texts in which one is taken for the other."""
        return self.as_second + self.as_first

    @property
    def share(self) -> float:
        """`count` as a share of `n_texts`."""
        return self.count / self.n_texts

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "as_second": self.as_second,
            "as_first": self.as_first,
            "n_texts": self.n_texts,
            "share": round(self.share, 4),
        }


@dataclass(frozen=True)
class Deviation:
    """An analyst who labels differently from others.

    Attributes
    ----------
    analyst : str
    from_whom : str or None
        The other of two analysts; None where it is against all others.
    by_model : bool
        Whether it is the model that contradicts the analyst's labels more often, rather than
        others who judged the same texts.
    n_different, n_texts : int
    others_different, others_texts : int
        The same of the others; zeros where there are just two analysts.
    """

    analyst: str
    from_whom: str | None
    by_model: bool
    n_different: int
    n_texts: int
    others_different: int = 0
    others_texts: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes
    ----------
    decisions : tuple of Decision
        Those examined.
    taxonomy : Taxonomy
    findings : tuple of Finding
        About single texts, those with most to gain first.
    small : tuple of SmallLabel
        Fewest examples first.
    confusions : tuple of Confusion
        Most texts first.
    deviations : tuple of Deviation
    unjudged : tuple of str
        Labels that decisions bear, ``leaf:polarity`` or signal, of which no model can tell yet
        whether one is right: there are too few examples, or it does not recognise them.
    """

    decisions: tuple[Decision, ...] = field(repr=False)
    taxonomy: Taxonomy = field(repr=False)
    findings: tuple[Finding, ...]
    small: tuple[SmallLabel, ...]
    confusions: tuple[Confusion, ...]
    deviations: tuple[Deviation, ...]
    unjudged: tuple[str, ...]

    @cached_property
    def by_row(self) -> dict[int, tuple[Finding, ...]]:
        """Findings of each decision (by its place) that has any."""
        found: dict[int, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.row, []).append(finding)
        return {row: tuple(some) for row, some in found.items()}

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not (self.findings or self.small or self.confusions or self.deviations)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the texts."""
        return {
            "n_decisions": len(self.decisions),
            "findings": [finding.to_dict() for finding in self.findings],
            "small": [label.to_dict() for label in self.small],
            "confusions": [pair.to_dict() for pair in self.confusions],
            "deviations": [deviation.to_dict() for deviation in self.deviations],
            "unjudged": list(self.unjudged),
        }


def examine(
    decisions: Sequence[Decision],
    taxonomy: Taxonomy,
    *,
    judged: OutOfFold,
    known: Sequence[LabelledText] = (),
    counts: Mapping[str, int] | None = None,
    curves: Mapping[str, Curve] | None = None,
    made: Sequence[Decision] = (),
) -> Diagnosis:
    """Look for what spoils training data.

    Parameters
    ----------
    decisions : sequence of Decision
        Those that count; the taxonomy knows all their labels (see
        `druppel.corrections.check_labels`). Those to measure by are held against other texts
        only: mending them where the model disagrees would make it look better than it is.
    taxonomy : Taxonomy
    judged : OutOfFold
        Of the same texts in the same order, by `druppel.retraining.out_of_fold`.
    known : sequence of LabelledText, optional
        What the base learnt from, all of it or the sample that `judged` was made with, labelled
        by `taxonomy` (see `druppel.retraining.carry_over`).
    counts : mapping from str to int, optional
        Examples of each leaf and signal that the base learnt from; by default those of `known`.
    curves : mapping from str to Curve, optional
        By leaf or signal, from `learning_curve`. Without, the number of examples that a small
        label needs is an estimate.
    made : sequence of Decision, optional
        All decisions that were not withdrawn, in order, to compare analysts by; without, analysts
        are compared by `decisions`.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If `judged` is not of these decisions and this taxonomy, or a decision bears a label that
        the taxonomy lacks.
    """
    texts, problems = labelled_texts(decisions, taxonomy)
    space = LabelSpace.of(taxonomy)
    if problems:
        msg = f"{len(problems)} decisions bear labels that the taxonomy does not have."
        raise ValueError(msg)
    if judged.space != space or len(judged.probability) != len(decisions):
        msg = "'judged' is not of these decisions and this taxonomy."
        raise ValueError(msg)
    case = _Case.of(decisions, texts, taxonomy, judged, known, counts)
    confirmed = _confirmed(made)
    doubts = [
        finding
        for finding in (*_doubtful_labels(case), *_doubtful_sentiments(case))
        if decisions[finding.row].key not in confirmed
    ]
    findings = [*doubts, *_same_texts(case), *_contradictions(case), *_without_evidence(case)]
    return Diagnosis(
        decisions=tuple(decisions),
        taxonomy=taxonomy,
        findings=tuple(sorted(findings, key=lambda f: (-round(f.gain, 6), f.row, f.advice))),
        small=tuple(_small(case, curves or {})),
        confusions=tuple(_confusions(case)),
        deviations=(
            *_disagreeing(made or decisions),
            *_contradicted(case, {finding.row for finding in doubts}),
        ),
        unjudged=tuple(
            _plain(space.names[j])
            for j in _columns_of_labels(space)
            if case.truth[:, j].any() and not case.judges[j]
        ),
    )


def _confirmed(made: Sequence[Decision]) -> set[str]:
    """Keys of the texts whose labels were decided twice alike: the doubt was looked at."""
    count = Counter((decision.key, decision.labels) for decision in made)
    return {key for (key, _), times in count.items() if times > 1}


def sheet_items(
    diagnosis: Diagnosis, most: int | None = None
) -> tuple[list[QueueItem], list[dict[str, str | float]]]:
    """Return the texts with findings for `druppel.review_sheet.write_sheet`.

    Each text stands there once, with the labels that it has now, and its findings joined. Texts
    of which only a leak was found are left out: no label mends that.

    Parameters
    ----------
    diagnosis : Diagnosis
    most : int, optional
        Most texts to return.

    Returns
    -------
    items : list of QueueItem
        Most to gain first.
    extra : list of dict
        ``advies`` and ``winst`` of each.
    """
    rows: dict[str, list[int]] = {}
    for row in diagnosis.by_row:
        rows.setdefault(diagnosis.decisions[row].key, []).append(row)
    ranked: list[tuple[float, int, list[Finding]]] = []
    for same in rows.values():
        found = [f for row in same for f in diagnosis.by_row[row] if f.kind != LEAK]
        if found:
            # Of several decisions about one text the latest is shown.
            ranked.append((_joined([finding.gain for finding in found]), max(same), found))
    ranked.sort(key=lambda entry: (-round(entry[0], 6), entry[1]))
    items: list[QueueItem] = []
    extra: list[dict[str, str | float]] = []
    for gain, row, found in ranked[:most]:
        d = diagnosis.decisions[row]
        result = as_result(d, diagnosis.taxonomy)
        reason = ", ".join(dict.fromkeys(_REASONS[finding.kind] for finding in found))
        items.append(QueueItem(d.text, d.question, d.score, result, reason, d.part))
        advice = "\n".join(dict.fromkeys(finding.advice for finding in found))
        extra.append({"advies": advice, "winst": round(gain, 2)})
    return items, extra


def _joined(gains: Sequence[float]) -> float:
    """Gain of a text with several findings: that of the largest, and a little for the others."""
    best = max(gains)
    return best + _OTHERS * (1 - best) * (1 - float(np.prod([1 - gain for gain in gains])))


# --- what is examined ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """Decisions with what is known of them.

    Attributes
    ----------
    training : ndarray of bool
        Decisions to learn from.
    truth : ndarray of shape (n_texts, n_labels)
    confidence : _Confidence
        Of the decisions to learn from.
    judges : ndarray of bool, of shape (n_labels,)
        Labels of which the model's opinion means something: it had examples enough, and gives
        the label where it belongs.
    n_examples : dict of str to int
        Texts to learn from that bear each leaf or signal.
    """

    decisions: Sequence[Decision]
    texts: list[LabelledText]
    taxonomy: Taxonomy
    space: LabelSpace
    judged: OutOfFold
    known: Sequence[LabelledText]
    training: np.ndarray
    truth: np.ndarray
    confidence: _Confidence
    judges: np.ndarray
    n_examples: Mapping[str, int]

    @classmethod
    def of(
        cls,
        decisions: Sequence[Decision],
        texts: list[LabelledText],
        taxonomy: Taxonomy,
        judged: OutOfFold,
        known: Sequence[LabelledText],
        counts: Mapping[str, int] | None,
    ) -> _Case:
        """Lay out what is known."""
        space = judged.space
        training = np.array([d.part == TRAINING for d in decisions], dtype=bool)
        truth = text_labels(texts, space)
        before = text_labels(known, space)
        n_examples = _count([t for t, learn in zip(texts, training, strict=True) if learn])
        n_examples.update(_count(known) if counts is None else counts)
        n_positive = truth[training].sum(axis=0) + before.sum(axis=0)
        confidence = _Confidence.of(truth[training], judged.probability[training], space)
        return cls(
            decisions=decisions,
            texts=texts,
            taxonomy=taxonomy,
            space=space,
            judged=judged,
            known=known,
            training=training,
            truth=truth,
            confidence=confidence,
            judges=(n_positive >= MIN_EXAMPLES) & (confidence.present >= _LEAST_PRESENT),
            n_examples=n_examples,
        )

    def rarity(self, labels: Iterable[str]) -> float:
        """Weight of the rarest of some leaves and signals: 1 for one without examples.

        What every text has, such as a sentiment, is as rare as the texts are.
        """
        n = min((self.n_examples.get(label, 0) for label in labels), default=len(self.texts))
        return _LEAST_RARITY + (1 - _LEAST_RARITY) * ENOUGH / (ENOUGH + n)

    def finding(self, kind: str, row: int, advice: str, gain: float, **more: Any) -> Finding:
        """A finding about decision number `row`."""
        number = self.decisions[row].number
        return Finding(kind, row, number, advice, float(min(gain, 0.99)), **more)

    def shown(self, label: str) -> str:
        """A label as people see it."""
        return _shown(self.taxonomy, label)


def _count(texts: Iterable[LabelledText]) -> Counter[str]:
    """Texts that bear each leaf and signal."""
    return Counter(label for t in texts for label in {*(a.leaf for a in t.aspects), *t.signals})


def _columns_of_labels(space: LabelSpace) -> list[int]:
    """Columns of what people give: leaves and signals. Categories follow from leaves."""
    leaves, signals = space.slices["leaf"], space.slices["signal"]
    return [*range(leaves.start, leaves.stop), *range(signals.start, signals.stop)]


def _plain(name: str) -> str:
    """Name of a column without its kind."""
    return name.partition(":")[2]


def _percent(probability: float) -> str:
    """A probability as one says it; nothing is quite certain."""
    if probability < _SURE:
        return f"minder dan {100 * _SURE:.0f} %"
    return f"{100 * min(probability, 1 - _SURE):.0f} %"


# --- labels that a model doubts -----------------------------------------------------------


@dataclass(frozen=True)
class _Confidence:
    """By confident learning, how far beyond a label's threshold the model contradicts a text.

    A label's threshold is what the model gives on average where it belongs, and where it does
    not; so a label that the model is never sure of needs less to be called missing. The margin
    is 0 at that threshold and 1 where the model is wholly sure; negative where it is not.

    Attributes
    ----------
    margin : ndarray of shape (n_texts, n_labels)
    present : ndarray of shape (n_labels,)
        Mean probability where the label is; of few texts, drawn towards that of its kind.
    """

    margin: np.ndarray
    present: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, probability: np.ndarray, space: LabelSpace) -> _Confidence:
        """Work it out."""
        present = _mean_drawn(probability, truth == 1, space)
        absent = _mean_drawn(1 - probability, truth == 0, space)
        against = np.where(truth == 1, 1 - probability, probability)
        threshold = np.where(truth == 1, absent, present)
        return cls((against - threshold) / np.maximum(1 - threshold, 1e-6), present)


def _mean_drawn(values: np.ndarray, where: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Mean of each column where it counts, drawn towards that of all columns of its kind."""
    drawn = np.empty(values.shape[1])
    counted = np.where(where, values, 0)
    for columns in space.slices.values():
        n, total = where[:, columns].sum(axis=0), counted[:, columns].sum(axis=0)
        common = total.sum() / max(n.sum(), 1)
        drawn[columns] = (total + _PRIOR * common) / (n + _PRIOR)
    return drawn


def _doubtful_labels(case: _Case) -> Iterator[Finding]:
    """Labels that are likely missing, do not belong, or have the wrong polarity."""
    rows = np.flatnonzero(case.training)
    truth, probability = case.truth[rows], case.judged.probability[rows]
    confidence, judges = case.confidence, case.judges
    for at, row in enumerate(rows):
        doubted = [
            j
            for j in _columns_of_labels(case.space)
            if judges[j]
            and confidence.margin[at, j] >= _LEAST_MARGIN
            and (truth[at, j] or probability[at, j] >= _HALF)
        ]
        turned: set[int] = set()
        for j in doubted:
            if truth[at, j]:
                continue
            given = _given_instead(case.space, truth[at], probability[at], j)
            if given is not None:
                turned |= {given, j}
                yield _turned(case, int(row), given, j, confidence.margin[at, [given, j]].max())
        for j in doubted:
            if j not in turned:
                yield _doubted(case, int(row), j, confidence.margin[at, j])


def _given_instead(
    space: LabelSpace, truth: np.ndarray, probability: np.ndarray, column: int
) -> int | None:
    """Column of another polarity of the same leaf that the text has and the model doubts."""
    if column >= space.slices["leaf"].stop:
        return None
    first = column - column % len(POLARITIES)
    given = [j for j in range(first, first + len(POLARITIES)) if truth[j]]
    if len(given) != 1 or probability[given[0]] > probability[column] / 2:
        return None
    return given[0]


def _turned(case: _Case, row: int, given: int, better: int, margin: float) -> Finding:
    label, other = _plain(case.space.names[given]), _plain(case.space.names[better])
    p = case.judged.probability[row]
    advice = (
        f"{case.shown(label)}: waarschijnlijk {other.partition(':')[2]} in plaats van "
        f"{label.partition(':')[2]} (kans {_percent(p[better])} tegen {_percent(p[given])})"
    )
    gain = margin * case.rarity([label.partition(":")[0]])
    return case.finding(POLARITY, row, advice, gain, label=label, probability=float(p[given]))


def _doubted(case: _Case, row: int, column: int, margin: float) -> Finding:
    label = _plain(case.space.names[column])
    p = float(case.judged.probability[row, column])
    kind = WRONG if case.truth[row, column] else MISSING
    advice = (
        f"{case.shown(label)} lijkt hier niet te horen (kans {_percent(p)})"
        if kind == WRONG
        else f"waarschijnlijk ontbreekt {case.shown(label)} (kans {_percent(p)})"
    )
    gain = margin * case.rarity([label.partition(":")[0]])
    return case.finding(kind, row, advice, gain, label=label, probability=p)


def _doubtful_sentiments(case: _Case) -> Iterator[Finding]:
    """Sentiments that are likely another one, by confident learning over the four."""
    rows = [i for i, d in enumerate(case.decisions) if case.training[i] and d.sentiment is not None]
    if not rows:
        return
    probability = case.judged.sentiments[rows]
    given = np.array([SENTIMENTS.index(case.decisions[i].sentiment or "") for i in rows])
    threshold = np.ones(len(SENTIMENTS))
    for number in range(len(SENTIMENTS)):
        if (given == number).sum() >= MIN_EXAMPLES:
            threshold[number] = probability[given == number, number].mean()
    sure = np.where(probability >= threshold, probability, 0)
    sure[np.arange(len(rows)), given] = 0
    best = sure.argmax(axis=1)
    for at in np.flatnonzero(sure.max(axis=1)):
        p, better = probability[at], int(best[at])
        margin = float(p[better] - p[given[at]])
        if margin < _LEAST_MARGIN:
            continue
        advice = (
            f"sentiment waarschijnlijk {SENTIMENTS[better]} in plaats van "
            f"{SENTIMENTS[given[at]]} (kans {_percent(p[better])})"
        )
        yield case.finding(
            SENTIMENT,
            rows[at],
            advice,
            margin * case.rarity(()),
            probability=float(p[given[at]]),
        )


# --- the same text elsewhere --------------------------------------------------------------


@dataclass(frozen=True)
class _Alike:
    """Which texts are the same, and which nearly.

    Attributes
    ----------
    group : list of int
        Of each text; texts of one group are the same, whatever their case and punctuation, and
        those of a few words answer the same question.
    members : list of list of int
        Texts of each group.
    near : dict of int to list of (int, float)
        Groups that nearly are a group, with the cosine of their character 4-grams.
    long : list of bool
        Whether a group's text is long enough to be somebody's own story.
    """

    group: list[int]
    members: list[list[int]]
    near: dict[int, list[tuple[int, float]]]
    long: list[bool]

    @classmethod
    def of(cls, texts: Sequence[LabelledText], n_own: int) -> _Alike:
        """Compare the first `n_own` texts with each other and with all others."""
        numbers: dict[tuple[str, str], int] = {}
        members: list[list[int]] = []
        group: list[int] = []
        for i, text in enumerate(texts):
            words = _folded(text.text)
            question = "" if _is_long(words) else _folded(text.question or "")
            number = numbers.setdefault((words, question), len(numbers))
            if number == len(members):
                members.append([])
            members[number].append(i)
            group.append(number)
        of_group = [words for words, _ in numbers]
        long = [_is_long(words) for words in of_group]
        n_groups = max(group[:n_own], default=-1) + 1  # those that hold decisions come first
        return cls(group, members, _near(of_group, long, n_groups), long)

    def like(self, i: int) -> Iterator[tuple[int, float]]:
        """Other texts that are nearly text number `i`, most similar first."""
        for number, similarity in self.near.get(self.group[i], ()):
            for other in self.members[number]:
                yield other, similarity


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower())) or text.strip()


def _is_long(words: str) -> bool:
    return words.count(" ") >= _MIN_WORDS - 1


def _near(
    words: Sequence[str], long: Sequence[bool], n_first: int
) -> dict[int, list[tuple[int, float]]]:
    """Pairs of near duplicates of which at least one is among the first.

    `druppel.corpus.near_duplicates` compares every text with every other; against a whole corpus
    that takes minutes.
    """
    rows = np.flatnonzero(long).tolist()
    n_rows = sum(i < n_first for i in rows)
    if not n_rows or len(rows) < 2:
        return {}
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), use_idf=False, dtype=np.float32
    )
    matrix = vectorizer.fit_transform([words[i] for i in rows])
    transposed = matrix.T.tocsr()
    near: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for begin in range(0, n_rows, _CHUNK):
        similar = (matrix[begin : min(begin + _CHUNK, n_rows)] @ transposed).tocoo()
        close = similar.data >= NEAR_DUPLICATE
        for r, c, value in zip(
            similar.row[close] + begin, similar.col[close], similar.data[close], strict=True
        ):
            if r != c:
                # The same words in another order are not the same text.
                near[rows[r]].append((rows[c], min(float(value), 0.999)))
    return {i: sorted(pairs, key=lambda p: (-round(p[1], 6), p[0])) for i, pairs in near.items()}


def _same_texts(case: _Case) -> Iterator[Finding]:
    """Texts that have other labels elsewhere, and texts to measure by that were learnt from."""
    n_own = len(case.texts)
    texts = [*case.texts, *case.known]
    alike = _Alike.of(texts, n_own)
    rivals: dict[int, int] = {}
    for members in alike.members[: max(alike.group[:n_own], default=-1) + 1]:
        rivals.update(_rivals(texts, [i for i in members if i < n_own]))
    # Labels that the base never had were not looked for in its texts.
    of_base = frozenset(_count(case.known))
    for i, text in enumerate(case.texts):
        same = alike.members[alike.group[i]]
        others = [(rivals[i], 1.0)] if i in rivals else []
        others += [(j, 1.0) for j in same if j >= n_own]
        for j, similarity in itertools.chain(others, alike.like(i)):
            there = _differences(text, texts[j], similarity, None if j < n_own else of_base)
            if there is not None:
                yield _differently(case, i, j, texts[j], similarity, there)
                break
        if case.decisions[i].part == MEASUREMENT and alike.long[alike.group[i]]:
            for j, similarity in itertools.chain(((j, 1.0) for j in same), alike.like(i)):
                if j >= n_own or case.training[j]:
                    place = _place(case, j, texts[j])
                    nearly = _nearly(similarity)
                    advice = f"{nearly} staat ook {place}, waarvan geleerd wordt"
                    yield case.finding(LEAK, i, advice, 0.9 * similarity)
                    break


def _rivals(texts: Sequence[LabelledText], members: Sequence[int]) -> dict[int, int]:
    """For each of some equal texts one with labels that at least as many of them have."""
    by_labels: dict[Any, list[int]] = {}
    for i in members:
        t = texts[i]
        labels = (
            frozenset((a.leaf, a.polarity) for a in t.aspects),
            t.sentiment,
            frozenset(t.signals),
        )
        by_labels.setdefault(labels, []).append(i)
    ranked = sorted(by_labels.values(), key=lambda some: (-len(some), some[0]))
    rivals: dict[int, int] = {}
    for some in ranked:
        other = next((o for o in ranked if o is not some), [])
        if len(other) >= len(some):
            rivals.update(dict.fromkeys(some, other[0]))
    return rivals


@dataclass(frozen=True)
class _There:
    """What another text has that this one has not, and the other way about."""

    more: tuple[str, ...]
    less: tuple[str, ...]
    sentiment: str | None


def _differences(
    here: LabelledText, there: LabelledText, similarity: float, counted: frozenset[str] | None
) -> _There | None:
    """Compare the labels of two texts that are alike; None where the texts explain them.

    Texts that are only nearly the same may differ in the very words that a label rests on. So
    there a label counts if its evidence is in both texts, and none does where one has a negation
    that the other lacks.
    """
    equal = similarity == 1.0
    words_here, words_there = _folded(here.text), _folded(there.text)
    if not equal and _TURNS & (set(words_here.split()) ^ set(words_there.split())):
        return None

    def only(one: LabelledText, other: LabelledText, words: str) -> tuple[str, ...]:
        has = {(a.leaf, a.polarity) for a in other.aspects}
        aspects = [
            f"{a.leaf}:{a.polarity}"
            for a in one.aspects
            if (a.leaf, a.polarity) not in has
            and (counted is None or a.leaf in counted)
            and (equal or _is_shared(a, words, similarity))
        ]
        signals = [
            s
            for s in one.signals
            if s not in other.signals
            and (counted is None or s in counted)
            and similarity >= _NEARLY_EQUAL
        ]
        return (*aspects, *signals)

    scores = (here.score, there.score)
    said_alike = None in scores or abs((scores[0] or 0) - (scores[1] or 0)) < _SCORES_DIFFER
    judged_otherwise = (
        None not in (here.sentiment, there.sentiment)
        and here.sentiment != there.sentiment
        and similarity >= _NEARLY_EQUAL
        and said_alike
    )
    found = _There(
        more=only(there, here, words_here),
        less=only(here, there, words_there),
        sentiment=there.sentiment if judged_otherwise else None,
    )
    return found if found.more or found.less or found.sentiment else None


def _is_shared(aspect: GoldAspect, words: str, similarity: float) -> bool:
    """Whether the words that an aspect rests on stand in another text too."""
    if aspect.evidence is None:
        return similarity >= _NEARLY_EQUAL
    return f" {_folded(aspect.evidence)} " in f" {words} "


def _differently(
    case: _Case, i: int, j: int, other: LabelledText, similarity: float, there: _There
) -> Finding:
    parts = []
    for word, labels in (("wel", there.more), ("niet", there.less)):
        if labels:
            parts.append(f"daar {word} {', '.join(case.shown(label) for label in labels)}")
    if there.sentiment:
        parts.append(f"daar sentiment {there.sentiment}")
    advice = f"{_nearly(similarity)}, andere labels {_place(case, j, other)}: {'; '.join(parts)}"
    slugs = [label.partition(":")[0] for label in (*there.more, *there.less)]
    sure = _EQUAL if similarity == 1.0 else _NEARLY * similarity
    if not slugs:
        sure /= 2
    if j >= len(case.texts):
        sure *= _SHIPPED  # whoever wrote the other labels did not know this organisation
    label = (*there.less, *there.more, None)[0]
    return case.finding(SAME_TEXT, i, advice, sure * case.rarity(slugs), label=label)


def _nearly(similarity: float) -> str:
    if similarity == 1.0:
        return "dezelfde tekst"
    return f"bijna dezelfde tekst ({_percent(similarity)} gelijk)"


def _place(case: _Case, j: int, text: LabelledText) -> str:
    """Where a text stands, in Dutch."""
    if j >= len(case.texts):
        return f"in het meegeleverde corpus ({text.id})"
    d = case.decisions[j]
    where = f"{d.source} {d.where}".strip()
    return f"bij beslissing {d.number or j + 1}" + (f" ({where})" if where else "")


# --- what contradicts itself, or is not shown -----------------------------------------------


def _contradictions(case: _Case) -> Iterator[Finding]:
    """Sentiments that all aspects go against."""
    for i, d in enumerate(case.decisions):
        polarities = {a.polarity for a in d.aspects}
        if (d.sentiment, polarities) in (("positief", {"neg"}), ("negatief", {"pos"})):
            only = polarities.pop()
            advice = f"sentiment {d.sentiment}, maar alle labels zijn {only}: klopt dat?"
            yield case.finding(CONTRADICTION, i, advice, _CONTRADICTS * case.rarity(()))


def _without_evidence(case: _Case) -> Iterator[Finding]:
    """Long texts with several aspects of which nobody said which words show them."""
    for i, d in enumerate(case.decisions):
        if not case.training[i] or len(d.aspects) < 2 or len(d.text.split()) < _LONG:
            continue
        bare = [a for a in d.aspects if a.evidence is None]
        if bare:
            shown = ", ".join(case.shown(f"{a.leaf}:{a.polarity}") for a in bare)
            advice = f"wijs in deze lange tekst de woorden aan die horen bij {shown}"
            gain = 0.15 * len(bare) / len(d.aspects) * case.rarity([a.leaf for a in bare])
            yield case.finding(EVIDENCE, i, advice, gain)


# --- labels that are too small, or taken for each other -------------------------------------


def _columns_of(space: LabelSpace, label: str) -> list[int]:
    """Columns of a leaf, one a polarity, or that of a signal."""
    if label not in (*space.leaves, *space.signals):
        msg = f"The taxonomy has no label {label!r}."
        raise ValueError(msg)
    if label in space.leaves:
        number = space.leaves.index(label)
        return [space.leaf(number, p) for p in range(len(POLARITIES))]
    return [space.slices["signal"].start + space.signals.index(label)]


def _f1(found: Any, truth: Any) -> float:
    return float(2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1))


def _rounded(n: float) -> int | None:
    """A number of examples as one says it: no more precise than it is known."""
    if not n <= _MOST_NEEDED:
        return None
    step = 5 if n <= ENOUGH else 10
    return max(int(np.ceil(n / step - 1e-6)) * step, MIN_EXAMPLES)


def _small(case: _Case, curves: Mapping[str, Curve]) -> list[SmallLabel]:
    """Labels with fewer examples than it takes to learn them."""
    small = []
    probability = case.judged.probability
    found = probability >= case.judged.thresholds
    for label in (*case.space.leaves, *case.space.signals):
        n, curve = case.n_examples.get(label, 0), curves.get(label)
        if n >= ENOUGH and curve is None:
            continue
        columns = _columns_of(case.space, label)
        truth = case.truth[:, columns].any(axis=1)
        n_own = int((truth & case.training).sum())
        f1 = None
        if truth.sum() >= _MIN_FOR_F1:
            f1 = _f1(found[:, columns].any(axis=1), truth)
        if n == 0 and len(probability) and np.ptp(probability[:, columns], axis=0).max() > 1e-6:
            continue  # learnt from texts that are not here
        if f1 is not None and f1 >= TARGET:
            continue
        if curve is not None:
            needed, basis = curve.needed(), MEASURED
        elif f1 is not None:
            fitted = max(round(n - n_own * (1 - _FITTED)), 1)
            needed, basis = Curve((fitted,), (f1,), int(truth.sum())).needed(), ESTIMATED
        else:
            needed, basis = (
                _rounded((_SLOPE / (_CEILING - TARGET)) ** (1 / _EXPONENT)),
                RULE_OF_THUMB,
            )
        if needed is None or needed > n:
            small.append(SmallLabel(label, n, f1, needed, basis, curve))
    return sorted(small, key=lambda s: (s.n_examples, s.label))


def _confusions(case: _Case) -> list[Confusion]:
    """Pairs of leaves of which one is found in place of the other more often than by chance."""
    leaves = case.space.slices["leaf"]
    shape = (len(case.texts), len(case.space.leaves), len(POLARITIES))
    bears: Any = case.truth[:, leaves].reshape(shape).any(axis=2)
    passed = case.judged.probability >= case.judged.thresholds
    found: Any = passed[:, leaves].reshape(shape).any(axis=2)
    missed, false = (bears & ~found).astype(float), (found & ~bears).astype(float)
    instead = missed.T @ false
    by_chance = np.outer(missed.sum(axis=0), false.mean(axis=0)) if len(false) else instead
    enough = [case.n_examples.get(leaf, 0) >= MIN_EXAMPLES for leaf in case.space.leaves]
    confusions = []
    for a, b in itertools.combinations(np.flatnonzero(enough).tolist(), 2):
        count = int(instead[a, b] + instead[b, a])
        one = int((bears[:, a] ^ bears[:, b]).sum())
        chance = poisson.sf(count - 1, by_chance[a, b] + by_chance[b, a])
        if count >= max(_MIN_CONFUSED, _MIN_CONFUSED_SHARE * one) and chance < _CHANCE:
            first, second = case.space.leaves[a], case.space.leaves[b]
            confusions.append(Confusion(first, second, int(instead[a, b]), int(instead[b, a]), one))
    return sorted(confusions, key=lambda c: (-c.count, c.first, c.second))


def learning_curve(
    base: Model,
    taxonomy: Taxonomy,
    own: Sequence[LabelledText],
    sample: Sequence[LabelledText],
    labels: Iterable[str],
    sizes: Sequence[int] = _SIZES,
    *,
    settings: Settings | None = None,
    renamed: Mapping[str, str] | None = None,
    random_state: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Curve]:
    """Measure how well labels are found by number of examples, by cross-validation.

    Only the labels asked for are fitted, on fewer and fewer of the texts that bear them; the
    others of those texts are left out. Every text is judged by a model that did not see it.

    Parameters
    ----------
    base, taxonomy, own, sample, settings, renamed
        As of `druppel.retraining.out_of_fold`. A few hundred texts of the sample will do.
    labels : iterable of str
        Leaves and signals; meant for those that the base does not know. Of one that it does, the
        curve tells what decisions add.
    sizes : sequence of int, default=(5, 10, 20, 40)
        Numbers of examples to learn from; those there are is added.
    random_state : int, default=0
        Draws the examples.
    progress : callable, optional

    Returns
    -------
    dict of str to Curve
        By label, without those that hardly any of the decisions bear.

    Raises
    ------
    ValueError
        If the taxonomy lacks one of the labels.
    """
    settings = settings or Settings()
    origins = retraining.Origins.of(base.taxonomy, taxonomy, renamed)
    material = retraining.prepare(
        base, taxonomy, origins, own, [] if origins.fresh else sample, progress
    )
    space = LabelSpace.of(taxonomy)
    n_own = material.n_own
    n_folds = min(settings.folds, len(set(material.group.tolist())))
    if n_folds < 2:
        return {}
    folds = list(GroupKFold(n_folds).split(np.arange(n_own), groups=material.group))
    profile = FAST if material.vectors is None else ACCURATE
    carried = None
    if not origins.fresh:
        carried = retraining.carried_over(base.decisions[profile], base, space, origins)
    curves = {}
    for label in dict.fromkeys(labels):
        truth = material.rows.text_labels[:n_own][:, _columns_of(space, label)]
        columns = np.array(_columns_of(space, label))[truth.any(axis=0)]
        bears: Any = truth.any(axis=1)
        most = min(int(bears[fit_on].sum()) for fit_on, _ in folds)
        if most < min(_SIZES):
            continue
        tried = [*(size for size in sorted(set(sizes)) if 0 < size < most), most]
        rng = np.random.default_rng(random_state)
        orders = [rng.permutation(fit_on[bears[fit_on]]) for fit_on, _ in folds]
        f1 = []
        for size in tried:
            probability = np.zeros((n_own, len(space.names)))
            for (fit_on, held_out), order in zip(folds, orders, strict=True):
                kept = np.setdiff1d(fit_on, order[size:])
                kept = np.concatenate([kept, np.arange(n_own, len(material.shown))])
                view = _view(material, kept, held_out, settings, columns)
                owner = material.rows.subset(held_out).batch.owner
                raw = combine(view, space, owner)
                if carried is not None:
                    raw = carried.calibration.apply(raw, space)
                probability[held_out] = raw
            found = np.zeros(n_own, dtype=bool)
            share = size / (size + settings.threshold_shrinkage)
            for column in columns:
                values = probability[:, [column]]
                best = choose_threshold(values, material.rows.text_labels[:n_own, [column]])
                common = 0.5 if carried is None else carried.thresholds[BALANCED][column]
                found |= values[:, 0] >= share * best + (1 - share) * common
            f1.append(_f1(found, bears))
            progress(f"{label}: {size} examples done")
        curves[label] = Curve(tuple(tried), tuple(f1), int(bears.sum()))
    return curves


def _view(
    material: Any, fit_on: np.ndarray, held_out: np.ndarray, settings: Settings, columns: np.ndarray
) -> View:
    """What is thought of some texts when some labels were learnt from others."""
    sparse, dense = retraining.refit(material, fit_on, settings, columns)
    clauses = material.rows.clauses_of(held_out)
    view = View.of(sparse, material.matrices.texts[held_out], material.matrices.clauses[clauses])
    if dense is None:
        return view
    vectors = material.vectors
    return view.mean(View.of(dense, vectors.texts[held_out], vectors.clauses[clauses]))


# --- analysts -------------------------------------------------------------------------------


def _disagreeing(made: Sequence[Decision]) -> Iterator[Deviation]:
    """Analysts who label the same texts otherwise than their colleagues do."""
    latest = {(d.key, d.analyst): d for d in made}
    by_text: dict[str, list[Decision]] = {}
    for (key, _), decision in latest.items():
        by_text.setdefault(key, []).append(decision)
    shared: Counter[tuple[str, str]] = Counter()
    different: Counter[tuple[str, str]] = Counter()
    for some in by_text.values():
        for a, b in itertools.combinations(sorted(some, key=lambda d: d.analyst), 2):
            shared[a.analyst, b.analyst] += 1
            different[a.analyst, b.analyst] += _disagree(a, b)
    analysts = sorted({name for pair in shared for name in pair})
    if len(analysts) == 2:
        pair = analysts[0], analysts[1]
        if shared[pair] >= _MIN_SHARED and different[pair] >= _OFTEN_DIFFERENT * shared[pair]:
            yield Deviation(*pair, False, different[pair], shared[pair])
        return
    for name in analysts:
        mine = [pair for pair in shared if name in pair]
        rest = [pair for pair in shared if name not in pair]
        counts = [
            (sum(different[p] for p in pairs), sum(shared[p] for p in pairs))
            for pairs in (mine, rest)
        ]
        if _stands_out(*counts[0], *counts[1], least=_MIN_SHARED, n_tests=len(analysts)):
            yield Deviation(name, None, False, *counts[0], *counts[1])


def _disagree(a: Decision, b: Decision) -> bool:
    """Whether two decisions differ; a sentiment that nobody judged is no difference."""
    if a.labels[0] != b.labels[0] or a.labels[2] != b.labels[2]:
        return True
    return None not in (a.sentiment, b.sentiment) and a.sentiment != b.sentiment


def _contradicted(case: _Case, doubtful: set[int]) -> Iterator[Deviation]:
    """Analysts whose labels the model doubts far more often than those of others."""
    judged: Counter[str] = Counter()
    doubted: Counter[str] = Counter()
    for i in np.flatnonzero(case.training).tolist():
        judged[case.decisions[i].analyst] += 1
        doubted[case.decisions[i].analyst] += i in doubtful
    for name in sorted(judged):
        rest = doubted.total() - doubted[name], judged.total() - judged[name]
        mine = doubted[name], judged[name]
        if _stands_out(*mine, *rest, least=_MIN_JUDGED, n_tests=len(judged)):
            yield Deviation(name, None, True, *mine, *rest)


def _stands_out(n: int, of: int, others: int, of_others: int, *, least: int, n_tests: int) -> bool:
    """Whether a share is far larger than that of others, and not by chance (Fisher's test)."""
    if min(of, of_others) < least or n * of_others < _FAR_MORE * others * of:
        return False
    table = np.array([[n, of - n], [others, of_others - others]])
    return bool(fisher_exact(table, alternative="greater").pvalue < _CHANCE / n_tests)


# --- for the reader ---------------------------------------------------------------------------

_REASONS = {
    SAME_TEXT: "zelfde tekst, andere labels",
    MISSING: "label ontbreekt misschien",
    WRONG: "label hoort er misschien niet",
    POLARITY: "polariteit misschien andersom",
    SENTIMENT: "sentiment misschien anders",
    CONTRADICTION: "sentiment past niet bij labels",
    EVIDENCE: "bewijs ontbreekt",
    LEAK: "meettekst waarvan geleerd is",
}
_NAMED = 10


def as_text(diagnosis: Diagnosis, sheet: str | None = None) -> str:
    """Tell in Dutch what was found, what weighs most first, and what to do next.

    It holds no customer's words, and lines of at most 100 characters.

    Parameters
    ----------
    diagnosis : Diagnosis
    sheet : str, optional
        File that `sheet_items` were written to.
    """
    n_measure = sum(d.part == MEASUREMENT for d in diagnosis.decisions)
    n = len(diagnosis.decisions)
    lines = [f"{n} beslissingen onderzocht, waarvan {n_measure} om mee te meten."]
    if diagnosis.healthy:
        lines += ["", "Niets gevonden dat het leren bederft."]
    sections = (
        _about_doubts,
        _about_same_texts,
        _about_small,
        _about_confusions,
        _about_leaks,
        _about_deviations,
        _about_the_rest,
    )
    for section in sections:
        if told := section(diagnosis):
            lines += ["", *told]
    if diagnosis.unjudged:
        few = len(diagnosis.unjudged)
        labels = "1 label valt" if few == 1 else f"{few} labels valt"
        lines += ["", f"Over {labels} nog niets te zeggen: het model herkent die nog te weinig."]
    if not diagnosis.healthy:
        lines += ["", *_what_now(diagnosis, sheet)]
    return "\n".join(part for line in lines for part in _wrapped(line)) + "\n"


def _wrapped(line: str) -> list[str]:
    """Break a line; what follows stands below its first word. A number keeps its ``%``."""
    indent = len(line) - len(line.lstrip())
    wrapped = textwrap.wrap(
        line.replace(" %", "\u00a0%"),
        _WIDTH,
        subsequent_indent=" " * (indent + 2 if indent else 0),
        break_on_hyphens=False,
    )
    return [part.replace("\u00a0", " ") for part in wrapped] or [""]


def _number(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"


def _texts(n: int) -> str:
    return _number(n, "tekst", "teksten")


def _shown(taxonomy: Taxonomy, label: str) -> str:
    """A label as the sheet has it: ``category/leaf polarity``, or a signal's slug."""
    slug, _, polarity = label.partition(":")
    if slug not in taxonomy.parent:
        return f"signaal {slug}"
    return f"{taxonomy.parent[slug]}/{slug} {polarity}".strip()


def _listed(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many there are more."""
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], *([f"  … en nog {more}"] if more > 0 else [])]


def _of(diagnosis: Diagnosis, *kinds: str) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.kind in kinds]


def _about_doubts(diagnosis: Diagnosis) -> list[str]:
    found = _of(diagnosis, *DOUBTS)
    if not found:
        return []
    n = len({finding.row for finding in found})
    lines = [f"MISSCHIEN VERKEERDE OF ONTBREKENDE LABELS: {_texts(n)}"]
    by_label: dict[str, Counter[str]] = {}
    for finding in found:
        by_label.setdefault(finding.label or "", Counter())[finding.kind] += 1
    told = []
    for label, kinds in sorted(by_label.items(), key=lambda e: (-e[1].total(), e[0])):
        name = _shown(diagnosis.taxonomy, label) if label else "sentiment"
        says = {
            WRONG: f"lijkt {kinds[WRONG]} keer niet te horen",
            MISSING: f"ontbreekt misschien {kinds[MISSING]} keer",
            POLARITY: f"heeft {kinds[POLARITY]} keer misschien de verkeerde polariteit",
            SENTIMENT: f"is {kinds[SENTIMENT]} keer misschien anders",
        }
        told.append(f"  {name}: {', '.join(says[kind] for kind in says if kinds[kind])}")
    return lines + _listed(told)


def _about_same_texts(diagnosis: Diagnosis) -> list[str]:
    found = _of(diagnosis, SAME_TEXT)
    if not found:
        return []
    head = f"DEZELFDE OF BIJNA DEZELFDE TEKST MET ANDERE LABELS: {_texts(len(found))}"
    return [head, *_listed([f"  {_decision(diagnosis, f)}: {f.advice}" for f in found])]


def _decision(diagnosis: Diagnosis, finding: Finding) -> str:
    d = diagnosis.decisions[finding.row]
    return finding.number or d.where or str(finding.row + 1)


def _about_small(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.small:
        return []
    n = len(diagnosis.small)
    lines = [f"TE WEINIG VOORBEELDEN OM TE LEREN: {_number(n, 'label', 'labels')}"]
    told = []
    for small in diagnosis.small:
        has = _number(small.n_examples, "voorbeeld", "voorbeelden")
        if not small.n_examples:
            has = "nog geen voorbeeld"
        needed = f"ongeveer {small.needed}"
        if small.needed is None:
            needed = f"meer dan {_MOST_NEEDED}"
        says = {
            MEASURED: f"volgens de leercurve {needed} nodig",
            ESTIMATED: f"naar schatting {needed} nodig",
            RULE_OF_THUMB: f"meestal zijn er {needed} nodig",
        }[small.basis]
        curve = ""
        if small.curve is not None:
            points = zip(small.curve.f1, small.curve.sizes, strict=True)
            curve = " (F1 " + ", ".join(f"{_comma(f1)} met {size}" for f1, size in points) + ")"
        advice = ""
        if small.needed is None:
            advice = "; maak de definitie scherper, of voeg het label bij een ander"
        told.append(f"  {_shown(diagnosis.taxonomy, small.label)}: {has}, {says}{curve}{advice}")
    lines += _listed(told)
    if any(small.curve is not None for small in diagnosis.small):
        lines.append(f"  F1 loopt van 0 tot 1; vanaf {_comma(TARGET)} is een label bruikbaar.")
    return lines


def _comma(value: float) -> str:
    return f"{value:.2f}".replace(".", ",")


def _about_confusions(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.confusions:
        return []
    n = len(diagnosis.confusions)
    lines = [f"LABELS DIE VERWARD WORDEN: {_number(n, 'paar', 'paren')}"]
    names = diagnosis.taxonomy.names
    told = []
    for pair in diagnosis.confusions:
        a, b = (f"‘{names[slug]}’ ({slug})" for slug in (pair.first, pair.second))
        told.append(
            f"  {a} en {b}: {pair.count} van de {_texts(pair.n_texts)} met een van beide "
            f"({100 * pair.share:.0f} %): {pair.as_second} keer het tweede in plaats van het "
            f"eerste, {pair.as_first} keer andersom"
        )
    return [*lines, *_listed(told), "  Voeg ze samen, of maak beide definities scherper."]


def _about_leaks(diagnosis: Diagnosis) -> list[str]:
    found = _of(diagnosis, LEAK)
    if not found:
        return []
    head = f"MEETTEKSTEN WAARVAN OOK GELEERD IS: {_texts(len(found))}"
    why = "  Laat deze beslissingen weg (trek ze in): zo lijkt het model beter dan het is."
    return [head, *_listed([f"  {_decision(diagnosis, f)}: {f.advice}" for f in found]), why]


def _about_deviations(diagnosis: Diagnosis) -> list[str]:
    if not diagnosis.deviations:
        return []
    lines = ["VERSCHILLEN TUSSEN ANALISTEN"]
    for d in diagnosis.deviations:
        mine = f"{d.n_different} van {_texts(d.n_texts)} ({100 * d.n_different // d.n_texts} %)"
        if d.from_whom is not None:
            lines.append(f"  {d.analyst} en {d.from_whom} labelen {mine} verschillend.")
            continue
        share = 100 * d.others_different // d.others_texts
        says = (
            f"wordt bij {mine} door het model tegengesproken; anderen bij {share} %. Het kan aan "
            "de teksten liggen."
            if d.by_model
            else f"labelt {mine} anders dan een collega; anderen onderling {share} %."
        )
        lines.append(f"  {d.analyst} {says}")
    return [*lines, "  Leg de definities naast elkaar en spreek af wat wanneer geldt."]


def _about_the_rest(diagnosis: Diagnosis) -> list[str]:
    lines = []
    if n := len(_of(diagnosis, CONTRADICTION)):
        lines.append(f"  sentiment dat niet bij de labels past: {_texts(n)}")
    if n := len(_of(diagnosis, EVIDENCE)):
        lines.append(f"  lange teksten waarin geen bewijs is aangewezen: {_texts(n)}")
    return ["VERDER", *lines] if lines else []


def _what_now(diagnosis: Diagnosis, sheet: str | None) -> list[str]:
    lines = ["WAT NU"]
    n = len(sheet_items(diagnosis)[0])
    if n:
        file = sheet or "BESTAND"
        lines += [
            f"  - Bekijk de {_texts(n)} in {sheet or 'het werkblad'}. Bovenaan staat wat het meest "
            "oplevert; verder naar onderen is het vaker vals alarm. Kloppen de labels, laat ze dan "
            "staan.",
            f"  - Voer daarna uit: druppel corrections add {file}",
        ]
    if diagnosis.small:
        lines.append(
            "  - Zoek meer voorbeelden van de kleine labels: druppel review ANTWOORDEN.xlsx"
        )
    if n or diagnosis.small:
        lines.append("  - Train opnieuw: druppel train")
    return lines if len(lines) > 1 else []
