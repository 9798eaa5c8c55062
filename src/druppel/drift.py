"""What changed between two periods of answers, with the classifier's own errors allowed for.

A model that finds 12 % of the answers irritated about the telephone, and wrongly so in some, does
not say that 12 % are. How often it misses and how often it cries wolf is known from held-out
texts; with that the share is corrected, and the interval tells of both the number of answers and
the number of held-out texts.

One assumption bears it all: the model misses and cries wolf as often in both periods as on the
held-out texts. Where a period shows that this cannot be, no correction is given. The same errors
are taken for both periods, so that a difference is much surer than the shares themselves.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
from scipy.special import xlogy
from scipy.stats import false_discovery_control, fisher_exact, hypergeom
from sklearn.feature_extraction.text import CountVectorizer

from druppel.corpus import LabelledText
from druppel.errors import InputError
from druppel.evaluation import Figure
from druppel.features import normalise, tokenise
from druppel.result import DUTCH, SENTIMENTS, Result
from druppel.taxonomy import Taxonomy

Kind = Literal["irritation", "signal", "sentiment"]

UP = "toegenomen"
DOWN = "afgenomen"
SAME = "geen aantoonbaar verschil"
TOO_FEW = "te weinig"
JUDGEMENTS = (UP, DOWN, SAME, TOO_FEW)
"""What is said of a share: up, down, no difference that shows, or too few answers to say."""

FEW_HELD_OUT = "te weinig in de meetset"
IMPRECISE = "te onnauwkeurig"
UNLIKE = "fouten anders dan in de meetset"
UNCORRECTABLE = (FEW_HELD_OUT, IMPRECISE, UNLIKE)
"""Why a share is not corrected: too few held-out examples, too many errors, or other errors."""

MIN_TEXTS = 30
"""Periods with fewer Dutch answers are not judged."""

_LEVEL = 0.05
_TAILS = (0.025, 0.975)
_MIN_FOUND = 5  # of a label in both periods together
_MIN_HELD_OUT = 10  # texts with and without a label
_MIN_YOUDEN = 0.2
_JEFFREYS = 0.5
_SURE_TAIL = 0.005
_EM_STEPS = 300
_EM_PRECISION = 1e-9

_TOP = 15
_MIN_WORD_TEXTS = 5
_PRIOR_TEXTS = 50.0
_SPLITS = 200
_EMERGING_LEVEL = 0.01
_LONG_ANSWER = 5  # words; from here on two equal answers are one answer, copied
_SAME_TEXTS = 0.7
_EXAMPLES = 2
_SENTENCE_END = re.compile(r"[!?;]|[.](?:\s|$)")
_PLACEHOLDERS = frozenset({"urllink", "mailadres"})


@dataclass(frozen=True)
class Period:
    """The answers of one period with what the model said of them.

    Parameters
    ----------
    name : str
        For people, such as a file name or ``"eerste kwartaal"``.
    texts : sequence of str
    results : sequence of Result
        Of the same texts, in the same order.

    Raises
    ------
    InputError
        If there are no texts.
    ValueError
        If there are not as many results as texts.
    """

    name: str
    texts: Sequence[str]
    results: Sequence[Result]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.results):
            msg = f"{len(self.texts)} texts and {len(self.results)} results."
            raise ValueError(msg)
        if not self.texts:
            msg = f"{self.name}: no answers. Give a file with at least one answer in each period."
            raise InputError(msg)

    @cached_property
    def dutch(self) -> tuple[int, ...]:
        """Rows with labels: the others are empty or in another language."""
        return tuple(i for i, result in enumerate(self.results) if result.language == DUTCH)


@dataclass(frozen=True)
class PeriodSummary:
    """How many answers a period has.

    Attributes
    ----------
    name : str
    n_texts : int
    n_dutch : int
        Those that could be labelled; label shares are of these.
    n_copies : int
        Answers of five words or more that are the same as an earlier one of the period.
    median_words : float
        Of the Dutch answers; 0 where there are none.
    """

    name: str
    n_texts: int
    n_dutch: int
    n_copies: int
    median_words: float


@dataclass(frozen=True)
class LabelDrift:
    """How often a label occurs in both periods.

    Pairs are (reference, new). Shares are of the Dutch answers, from 0 to 1.

    Attributes
    ----------
    kind : {"irritation", "signal", "sentiment"}
        An irritation is a category with a negative aspect.
    label, name : str
        Slug, and Dutch name.
    found : pair of int
        Answers that the model gave the label.
    observed : pair of Figure
        Their share.
    corrected : pair of Figure or None
        Estimate of the true share; None where it cannot be corrected.
    difference : Figure
        New minus reference, of the corrected shares, or else of the observed ones.
    p_value : float
        Of no difference, adjusted for the number of shares that are judged; 1 where there are
        too few answers to judge.
    judgement : str
        One of `JUDGEMENTS`.
    uncorrectable : str or None
        One of `UNCORRECTABLE`.
    held_out : int
        Held-out texts that bear the label.
    sensitivity, specificity : float or None
        On held-out texts: share of the texts with the label that got it, and of those without
        that did not. None without such texts.
    """

    kind: Kind
    label: str
    name: str
    found: tuple[int, int]
    observed: tuple[Figure, Figure]
    corrected: tuple[Figure, Figure] | None
    difference: Figure
    p_value: float
    judgement: str
    uncorrectable: str | None
    held_out: int
    sensitivity: float | None
    specificity: float | None

    @property
    def shares(self) -> tuple[Figure, Figure]:
        """The best there is: corrected, or else observed."""
        return self.corrected or self.observed


@dataclass(frozen=True)
class ShareDrift:
    """A share that needs no correction: what it counts is seen, not judged by the model.

    Attributes
    ----------
    found, total : pair of int
        In the reference and the new period.
    observed : pair of Figure
    difference : Figure
        New minus reference.
    p_value : float
        Adjusted like those of the labels.
    judgement : str
        One of `JUDGEMENTS`.
    """

    found: tuple[int, int]
    total: tuple[int, int]
    observed: tuple[Figure, Figure]
    difference: Figure
    p_value: float
    judgement: str


@dataclass(frozen=True)
class WordDrift:
    """A word that is used significantly more or less than before.

    Attributes
    ----------
    word : str
        As `druppel.features.normalise` writes it.
    found : pair of int
        Answers with the word, copies counted once.
    shares : pair of float
    z : float
        Standardised log-odds ratio; positive where the word is used more.
    """

    word: str
    found: tuple[int, int]
    shares: tuple[float, float]
    z: float


@dataclass(frozen=True)
class VocabularyDrift:
    """What words are used.

    Attributes
    ----------
    more, less : tuple of WordDrift
        At most 15 each, the surest first.
    n_more, n_less : int
        How many there are in all.
    divergence : float or None
        Jensen-Shannon divergence of the two word distributions, in bits, from 0 (the same) to
        1 (no word in common); None where a period has no words.
    normal : Figure or None
        The same between random halves: both periods shuffled and dealt out anew, in the same
        numbers. Median, and the interval that holds 95 % of the deals.
    """

    more: tuple[WordDrift, ...]
    less: tuple[WordDrift, ...]
    n_more: int
    n_less: int
    divergence: float | None
    normal: Figure | None

    @property
    def excess(self) -> float:
        """Divergence beyond what chance alone gives with so many answers; 0 where unknown."""
        if self.divergence is None or self.normal is None:
            return 0.0
        return self.divergence - self.normal.value

    @property
    def beyond_chance(self) -> bool:
        """True where the divergence is larger than in 97.5 % of the random deals."""
        return (
            self.divergence is not None
            and self.normal is not None
            and self.divergence > self.normal.high
        )


@dataclass(frozen=True)
class EmergingTerm:
    """A word or pair of words that stands out among the new answers without a label.

    Attributes
    ----------
    term : str
    unlabelled : int
        New answers without a label that use it, copies counted once.
    found : pair of int
        Answers that use it, with or without label, copies counted once.
    shares : pair of float
    z : float
        Standardised log-odds ratio, the smaller of two: against all reference answers, that of
        the new answers without a label and that of all new answers.
    related : tuple of str
        Other terms of largely the same answers.
    rows : tuple of int
        Numbers, from 0, of one or two of those answers in the new period.
    """

    term: str
    unlabelled: int
    found: tuple[int, int]
    shares: tuple[float, float]
    z: float
    related: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Drift:
    """What changed between two periods.

    Attributes
    ----------
    model : str
        Name and version of the model that labelled both.
    n_held_out : int
        Held-out texts by which shares are corrected.
    reference, new : PeriodSummary
    labels : tuple of LabelDrift
        Irritations and signals in the order of the taxonomy, then sentiments.
    review : ShareDrift
        Of the answers with words: those that a person should look at.
    unlabelled : ShareDrift
        Of the Dutch answers: those with neither aspect nor signal.
    foreign : ShareDrift
        Of the answers with words: those in another language.
    empty : ShareDrift
        Of all answers: those without words.
    overlap : float
        Share of the new answers of five words or more that stand literally in the reference.
    vocabulary : VocabularyDrift
    emerging : tuple of EmergingTerm
        The surest first.
    examples : dict of int to str
        The new answers that `emerging` points at.
    """

    model: str
    n_held_out: int
    reference: PeriodSummary
    new: PeriodSummary
    labels: tuple[LabelDrift, ...]
    review: ShareDrift
    unlabelled: ShareDrift
    foreign: ShareDrift
    empty: ShareDrift
    overlap: float
    vocabulary: VocabularyDrift
    emerging: tuple[EmergingTerm, ...]
    examples: dict[int, str]

    def of_kind(self, kind: Kind) -> tuple[LabelDrift, ...]:
        """Labels of one kind."""
        return tuple(label for label in self.labels if label.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, rounded to six decimals, without any answer's text."""
        found = asdict(self)
        del found["examples"]
        return {key: _plain(value) for key, value in found.items()}


def drift(
    reference: Period,
    new: Period,
    *,
    held_out: Sequence[LabelledText],
    held_out_results: Sequence[Result],
    taxonomy: Taxonomy,
    random_state: int = 0,
    n_draws: int = 2000,
) -> Drift:
    """Compare two periods of answers that one model labelled.

    Parameters
    ----------
    reference, new : Period
    held_out : sequence of LabelledText
        Texts that the model was not trained on; may be empty, then nothing is corrected.
    held_out_results : sequence of Result
        What the same model, with the same profile and mode, says of them.
    taxonomy : Taxonomy
    random_state : int, default=0
        Seeds intervals and random deals.
    n_draws : int, default=2000
        Of the intervals.

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        If the texts were labelled by more than one model.
    ValueError
        If there are not as many held-out results as texts.

    Notes
    -----
    A label's share is corrected by Rogan and Gladen (1978), Estimating prevalence from the
    results of a screening test; see `corrected_share`. The four sentiments are corrected
    together, by the most likely true shares given the confusion of the held-out texts: the EM of
    Saerens, Latinne and Decaestecker (2002), Adjusting the outputs of a classifier to new a
    priori probabilities, on labels rather than probabilities, which keeps shares between 0 and 1.

    Intervals hold 95 % of draws from the Jeffreys posteriors of the observed shares and of the
    held-out confusion; the confusion is drawn once for both periods, so that its error largely
    falls out of a difference. They treat answers and held-out texts as independent.

    Under the assumption of equal errors the true shares differ where the observed ones do, so
    that Fisher's exact test on what the model found needs no correction. Its p-values are
    adjusted for false discoveries by Benjamini and Hochberg (1995), over all labels and shares
    that are frequent enough to judge.
    A share is called changed when the adjusted p-value is under 5 % and the interval of the
    difference leaves 0 out.

    Counted of a word are the answers that use it. Words that changed by Fisher's exact test, with a
    false discovery rate of 5 % (of 1 % for emerging terms), are ranked by their log-odds ratio
    with an informative Dirichlet prior: Monroe, Colaresi and Quinn (2008), Fightin' words:
    lexical feature selection and evaluation for identifying the content of political conflict.
    """
    if len(held_out) != len(held_out_results):
        msg = f"{len(held_out)} held-out texts and {len(held_out_results)} results."
        raise ValueError(msg)
    model = _one_model(reference, new, held_out_results)
    rng = np.random.default_rng(random_state)
    labels, shares = _compare_shares(
        reference, new, _HeldOut.of(held_out, held_out_results, taxonomy), taxonomy, rng, n_draws
    )
    words = (_Words.of(reference), _Words.of(new))
    emerging = _emerging(*words, new)
    rows = sorted({row for term in emerging for row in term.rows})
    return Drift(
        model=model,
        n_held_out=len(held_out),
        reference=_summary(reference, words[0]),
        new=_summary(new, words[1]),
        labels=labels,
        **shares,
        overlap=_overlap(*words),
        vocabulary=_vocabulary(*words, rng),
        emerging=emerging,
        examples={row: new.texts[row] for row in rows},
    )


def corrected_share(observed: Any, sensitivity: Any, specificity: Any) -> Any:
    """True share of a label by Rogan and Gladen (1978), kept between 0 and 1.

    Parameters
    ----------
    observed : float or ndarray
        Share of the texts that got the label.
    sensitivity : float or ndarray
        Share of the texts that bear the label that get it.
    specificity : float or ndarray
        Share of the texts that do not bear it that do not get it; together with the sensitivity
        more than 1.

    Examples
    --------
    >>> round(float(corrected_share(0.25, sensitivity=0.8, specificity=0.9)), 3)
    0.214
    >>> float(corrected_share(0.05, sensitivity=0.8, specificity=0.9))
    0.0
    """
    return np.clip(_rogan_gladen(observed, sensitivity, specificity), 0.0, 1.0)


def corrected_shares(observed: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """Most likely true shares of labels that exclude each other, by EM.

    Parameters
    ----------
    observed : ndarray of shape (n_draws, n_labels)
        Shares of the texts that got each label.
    confusion : ndarray of shape (n_draws, n_labels, n_labels)
        ``confusion[:, t, o]`` is the share of the texts with label t that got label o.

    Returns
    -------
    ndarray of shape (n_draws, n_labels)

    Examples
    --------
    >>> confusion = np.array([[[0.8, 0.2], [0.1, 0.9]]])
    >>> corrected_shares(np.array([[0.25, 0.75]]), confusion).round(3)
    array([[0.214, 0.786]])
    """
    shares = np.full(observed.shape, 1 / observed.shape[1])
    for _ in range(_EM_STEPS):
        expected = np.einsum("dt,dto->do", shares, confusion)
        ratio = np.divide(observed, expected, out=np.zeros_like(observed), where=expected > 0)
        before = shares
        shares = shares * np.einsum("dto,do->dt", confusion, ratio)
        if np.abs(shares - before).max() < _EM_PRECISION:
            break
    return shares


# --- shares -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _HeldOut:
    """Labels of the held-out texts that the model took for Dutch, by kind: true and found."""

    truth: dict[Kind, np.ndarray]
    found: dict[Kind, np.ndarray]

    @classmethod
    def of(
        cls, texts: Sequence[LabelledText], results: Sequence[Result], taxonomy: Taxonomy
    ) -> _HeldOut:
        pairs = [
            (text, result)
            for text, result in zip(texts, results, strict=True)
            if result.language == DUTCH
        ]
        parent = taxonomy.parent
        said: dict[Kind, list[set[str]]] = {
            "irritation": [
                {parent[a.leaf] for a in text.aspects if a.polarity == "neg" and a.leaf in parent}
                for text, _ in pairs
            ],
            "signal": [set(text.signals) for text, _ in pairs],
            "sentiment": [{text.sentiment} if text.sentiment else set() for text, _ in pairs],
        }
        names = _labels(taxonomy)
        return cls(
            truth={kind: _indicator(rows, names[kind]) for kind, rows in said.items()},
            found=_found([result for _, result in pairs], taxonomy),
        )


def _labels(taxonomy: Taxonomy) -> dict[Kind, list[str]]:
    return {
        "irritation": [category.slug for category in taxonomy.categories],
        "signal": [signal.slug for signal in taxonomy.signals],
        "sentiment": list(SENTIMENTS),
    }


def _found(results: Sequence[Result], taxonomy: Taxonomy) -> dict[Kind, np.ndarray]:
    names = _labels(taxonomy)
    return {
        "irritation": _indicator((set(r.irritations) for r in results), names["irritation"]),
        "signal": _indicator(({s.signal for s in r.signals} for r in results), names["signal"]),
        "sentiment": _indicator(
            ({r.sentiment.label} if r.sentiment else set() for r in results), names["sentiment"]
        ),
    }


def _indicator(rows: Iterable[set[str]], names: Sequence[str]) -> np.ndarray:
    flags = np.array([[name in row for name in names] for row in rows], dtype=bool)
    return flags.reshape(-1, len(names))


@dataclass(frozen=True)
class _Compared:
    """A share in both periods, before it is known how many others are compared."""

    found: tuple[int, int]
    total: tuple[int, int]
    observed: tuple[Figure, Figure]
    draws: tuple[np.ndarray, np.ndarray]
    p_value: float

    @classmethod
    def of(
        cls,
        found: tuple[int, int],
        total: tuple[int, int],
        rng: np.random.Generator,
        n_draws: int,
    ) -> _Compared:
        old, new = (
            rng.beta(k + _JEFFREYS, n - k + _JEFFREYS, n_draws)
            for k, n in zip(found, total, strict=True)
        )
        return cls(
            found=found,
            total=total,
            observed=(
                _figure(_ratio(found[0], total[0]), old),
                _figure(_ratio(found[1], total[1]), new),
            ),
            draws=(old, new),
            p_value=_fisher(found, total),
        )

    def difference(self) -> Figure:
        """Of the observed shares."""
        return _figure(
            self.observed[1].value - self.observed[0].value, self.draws[1] - self.draws[0]
        )

    @property
    def enough(self) -> bool:
        """True where there are answers enough to judge."""
        return min(self.total) >= MIN_TEXTS and sum(self.found) >= _MIN_FOUND

    def judge(self, p_value: float, difference: Figure) -> str:
        if not self.enough:
            return TOO_FEW
        if p_value < _LEVEL and difference.low > 0:
            return UP
        if p_value < _LEVEL and difference.high < 0:
            return DOWN
        return SAME


@dataclass(frozen=True)
class _Correction:
    """Corrected shares and their difference, or why there are none."""

    shares: tuple[Figure, Figure] | None
    difference: Figure
    uncorrectable: str | None
    held_out: int
    sensitivity: float | None
    specificity: float | None


def _compare_shares(
    reference: Period,
    new: Period,
    held_out: _HeldOut,
    taxonomy: Taxonomy,
    rng: np.random.Generator,
    n_draws: int,
) -> tuple[tuple[LabelDrift, ...], dict[str, ShareDrift]]:
    """Compare all shares, and judge them together."""
    dutch = [[period.results[i] for i in period.dutch] for period in (reference, new)]
    n_dutch = (len(dutch[0]), len(dutch[1]))
    counts = [_found(results, taxonomy) for results in dutch]
    compared: list[tuple[Kind, str, _Compared, _Correction]] = []
    for kind, names in _labels(taxonomy).items():
        totals = np.array([count[kind].sum(axis=0) for count in counts])
        rows = [_Compared.of((int(old), int(now)), n_dutch, rng, n_draws) for old, now in totals.T]
        truth, found = held_out.truth[kind], held_out.found[kind]
        corrections = (
            _correct_together(rows, truth, found, rng, n_draws)
            if kind == "sentiment"
            else [_correct(row, truth[:, j], found[:, j], rng) for j, row in enumerate(rows)]
        )
        compared += [
            (kind, name, row, correction)
            for name, row, correction in zip(names, rows, corrections, strict=True)
        ]
    others = {
        name: _Compared.of((a[0], b[0]), (a[1], b[1]), rng, n_draws)
        for name, (a, b) in _plain_shares(reference, new).items()
    }
    p_values = _adjusted_shares([*(row for _, _, row, _ in compared), *others.values()])
    labels = tuple(
        LabelDrift(
            kind=kind,
            label=label,
            name=taxonomy.names.get(label, label.capitalize()),
            found=row.found,
            observed=row.observed,
            corrected=correction.shares,
            difference=correction.difference,
            p_value=p,
            judgement=row.judge(p, correction.difference),
            uncorrectable=correction.uncorrectable,
            held_out=correction.held_out,
            sensitivity=correction.sensitivity,
            specificity=correction.specificity,
        )
        for (kind, label, row, correction), p in zip(compared, p_values, strict=False)
    )
    shares = {
        name: ShareDrift(
            found=row.found,
            total=row.total,
            observed=row.observed,
            difference=row.difference(),
            p_value=p,
            judgement=row.judge(p, row.difference()),
        )
        for (name, row), p in zip(others.items(), p_values[len(compared) :], strict=True)
    }
    return labels, shares


def _adjusted_shares(rows: Sequence[_Compared]) -> list[float]:
    """P-values adjusted for the number of shares that are judged; 1 for the others."""
    judged = np.array([row.enough for row in rows])
    adjusted = np.ones(len(rows))
    adjusted[judged] = _adjusted(np.array([row.p_value for row in rows])[judged])
    return [float(p) for p in adjusted]


def _plain_shares(
    reference: Period, new: Period
) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    """(Found, total) of the shares that need no correction, in both periods."""

    def count(period: Period) -> dict[str, tuple[int, int]]:
        worded = [r for r in period.results if r.language is not None]
        dutch = [r for r in worded if r.language == DUTCH]
        return {
            "review": (sum(r.review for r in worded), len(worded)),
            "unlabelled": (sum(not (r.aspects or r.signals) for r in dutch), len(dutch)),
            "foreign": (len(worded) - len(dutch), len(worded)),
            "empty": (len(period.results) - len(worded), len(period.results)),
        }

    old, now = count(reference), count(new)
    return {name: (old[name], now[name]) for name in old}


def _correct(
    row: _Compared, truth: np.ndarray, found: np.ndarray, rng: np.random.Generator
) -> _Correction:
    """Correct the share of one label by its own sensitivity and specificity."""
    n_draws = len(row.draws[0])
    positives, negatives = int(truth.sum()), int((~truth).sum())
    hits, rejections = int((truth & found).sum()), int((~truth & ~found).sum())
    # Drawn always, so that one label's draws do not hang on whether another can be corrected.
    sensitivity = rng.beta(hits + _JEFFREYS, positives - hits + _JEFFREYS, n_draws)
    specificity = rng.beta(rejections + _JEFFREYS, negatives - rejections + _JEFFREYS, n_draws)
    rates = (_rate(hits, positives), _rate(rejections, negatives))

    def refused(reason: str) -> _Correction:
        return _Correction(None, row.difference(), reason, positives, *rates)

    if rates[0] is None or rates[1] is None or min(positives, negatives) < _MIN_HELD_OUT:
        return refused(FEW_HELD_OUT)
    if rates[0] + rates[1] - 1 < _MIN_YOUDEN:
        return refused(IMPRECISE)
    raw = [_rogan_gladen(observed, sensitivity, specificity) for observed in row.draws]
    # Fewer found than false alarms alone would give (or more than there can be): these answers
    # are not like the held-out texts.
    if any(
        np.quantile(draws, 1 - _SURE_TAIL) < 0 or np.quantile(draws, _SURE_TAIL) > 1
        for draws in raw
    ):
        return refused(UNLIKE)
    values = [corrected_share(figure.value, *rates) for figure in row.observed]
    shares, difference = _corrected_figures(
        (float(values[0]), float(values[1])), (np.clip(raw[0], 0, 1), np.clip(raw[1], 0, 1))
    )
    return _Correction(shares, difference, None, positives, *rates)


def _correct_together(
    rows: Sequence[_Compared],
    truth: np.ndarray,
    found: np.ndarray,
    rng: np.random.Generator,
    n_draws: int,
) -> list[_Correction]:
    """Correct the shares of labels that exclude each other by their confusion."""
    counts = truth.T.astype(int) @ found.astype(int)
    support = counts.sum(axis=1)
    confusion = np.stack([rng.dirichlet(row + _JEFFREYS, n_draws) for row in counts], axis=1)
    observed = [
        rng.dirichlet([row.found[period] + _JEFFREYS for row in rows], n_draws) for period in (0, 1)
    ]
    total = int(support.sum())
    rates = []
    for j, n in enumerate(support.tolist()):
        hits, rejections = int(counts[j, j]), total - n - int(counts[:, j].sum() - counts[j, j])
        rates.append((_rate(hits, n), _rate(rejections, total - n)))
    reason = None
    if min(support) < _MIN_HELD_OUT:
        reason = FEW_HELD_OUT
    elif any((a or 0) + (b or 0) - 1 < _MIN_YOUDEN for a, b in rates):
        reason = IMPRECISE
    # Without answers there is nothing to correct; the prior alone would be shown.
    if reason is not None or min(rows[0].total) == 0:
        return [
            _Correction(None, row.difference(), reason or FEW_HELD_OUT, int(n), *rate)
            for row, n, rate in zip(rows, support, rates, strict=True)
        ]
    matrix = (counts / support[:, None])[None]
    values = [
        corrected_shares(np.array([[row.observed[period].value for row in rows]]), matrix)[0]
        for period in (0, 1)
    ]
    draws = [corrected_shares(shares, confusion) for shares in observed]
    corrections = []
    for j, (n, rate) in enumerate(zip(support, rates, strict=True)):
        shares, difference = _corrected_figures(
            (float(values[0][j]), float(values[1][j])), (draws[0][:, j], draws[1][:, j])
        )
        corrections.append(_Correction(shares, difference, None, int(n), *rate))
    return corrections


def _corrected_figures(
    values: tuple[float, float], draws: tuple[np.ndarray, np.ndarray]
) -> tuple[tuple[Figure, Figure], Figure]:
    shares = (_figure(values[0], draws[0]), _figure(values[1], draws[1]))
    return shares, _figure(values[1] - values[0], draws[1] - draws[0])


def _rogan_gladen(observed: Any, sensitivity: Any, specificity: Any) -> Any:
    # A draw without any power to tell stands for "anything is possible", not for a flipped sign.
    youden = np.maximum(sensitivity + specificity - 1, 0.01)
    return (observed + specificity - 1) / youden


def _figure(value: float, draws: np.ndarray) -> Figure:
    """Value with the interval of its draws, which always holds the value."""
    low, high = np.quantile(draws, _TAILS).tolist()
    return Figure(value, min(low, value), max(high, value))


def _fisher(found: tuple[int, int], total: tuple[int, int]) -> float:
    table = np.array([[k, n - k] for k, n in zip(found, total, strict=True)])
    return float(fisher_exact(table).pvalue)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _one_model(reference: Period, new: Period, held_out: Sequence[Result]) -> str:
    models = {r.model for results in (reference.results, new.results, held_out) for r in results}
    if len(models) > 1:
        msg = (
            f"Labelled by several models: {', '.join(sorted(models))}. Label both periods and the "
            "held-out texts with one model; else the models would differ, not the periods."
        )
        raise InputError(msg)
    return models.pop()


# --- words ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """The Dutch answers of a period as sentences of words, copies of long answers left out."""

    rows: tuple[int, ...]
    sentences: tuple[tuple[tuple[str, ...], ...], ...]
    long: tuple[str, ...]
    n_copies: int
    median_words: float

    @classmethod
    def of(cls, period: Period) -> _Words:
        rows, sentences, lengths = [], [], []
        seen: Counter[str] = Counter()
        for i in period.dutch:
            text = normalise(period.texts[i])
            length = sum(word[0].isalpha() for word in tokenise(text))
            lengths.append(length)
            if length >= _LONG_ANSWER:
                # As it stands: `normalise` would make one answer of all that differ in a number.
                literal = " ".join(period.texts[i].lower().split())
                seen[literal] += 1
                if seen[literal] > 1:
                    continue
            rows.append(i)
            sentences.append(tuple(_sentences(text)))
        return cls(
            rows=tuple(rows),
            sentences=tuple(sentences),
            long=tuple(seen.elements()),
            n_copies=sum(n - 1 for n in seen.values()),
            median_words=float(np.median(lengths)) if lengths else 0.0,
        )


def _sentences(text: str) -> Iterable[tuple[str, ...]]:
    """Words that bear meaning, sentence by sentence."""
    stop = _stop_words()
    for sentence in _SENTENCE_END.split(text):
        words = tuple(
            word
            for word in tokenise(sentence)
            if word[0].isalpha() and len(word) > 1 and word not in stop
        )
        if words:
            yield words


@cache
def _stop_words() -> frozenset[str]:
    from spacy.lang.nl.stop_words import STOP_WORDS

    return frozenset(map(normalise, STOP_WORDS)) | _PLACEHOLDERS


def _words_of(sentences: Iterable[tuple[str, ...]]) -> list[str]:
    return [word for sentence in sentences for word in sentence]


def _terms_of(sentences: Iterable[tuple[str, ...]]) -> list[str]:
    """Words, and pairs of neighbours with no more than stop words between them."""
    terms: list[str] = []
    for sentence in sentences:
        terms += sentence
        terms += [f"{a} {b}" for a, b in itertools.pairwise(sentence) if a != b]
    return terms


def _summary(period: Period, words: _Words) -> PeriodSummary:
    return PeriodSummary(
        name=period.name,
        n_texts=len(period.texts),
        n_dutch=len(period.dutch),
        n_copies=words.n_copies,
        median_words=words.median_words,
    )


def _overlap(reference: _Words, new: _Words) -> float:
    known = set(reference.long)
    return _ratio(sum(text in known for text in new.long), len(new.long))


def _log_odds(
    new: np.ndarray, old: np.ndarray, n_words: tuple[int, int], n_texts: int
) -> np.ndarray:
    """Standardised log-odds ratios with an informative prior (Monroe et al., 2008, eq. 15-22).

    Parameters
    ----------
    new, old : ndarray of shape (n_words,)
        Answers with each word.
    n_words : pair of int
        Sums of such counts over all words, new and old.
    n_texts : int
        Answers, new and old together; the prior stands for `_PRIOR_TEXTS` of them.
    """
    weight = _PRIOR_TEXTS / n_texts
    prior, prior_words = weight * (new + old), weight * sum(n_words)
    a, b = new + prior, old + prior
    odds = np.log(a) - np.log(n_words[0] + prior_words - a)
    odds -= np.log(b) - np.log(n_words[1] + prior_words - b)
    return np.asarray(odds / np.sqrt(1 / a + 1 / b))


def _tail(new: np.ndarray, n_new: int, old: np.ndarray, n_old: int) -> np.ndarray:
    """One-sided p-values of Fisher's exact test that a word is used in more of the new answers."""
    return np.asarray(hypergeom.sf(new - 1, n_new + n_old, new + old, n_new))


def _vocabulary(old: _Words, new: _Words, rng: np.random.Generator) -> VocabularyDrift:
    texts = [*old.sentences, *new.sentences]
    n_old, n_new = len(old.sentences), len(new.sentences)
    if not any(old.sentences) or not any(new.sentences):
        return VocabularyDrift((), (), 0, 0, None, None)
    counter = CountVectorizer(analyzer=_words_of, binary=True)
    matrix = counter.fit_transform(texts).T.tocsr().astype(np.float64)
    names = counter.get_feature_names_out()
    is_new = np.arange(len(texts)) >= n_old
    total = np.asarray(matrix.sum(axis=1)).ravel()

    def divergence(flags: np.ndarray) -> float:
        counts = matrix @ flags.astype(np.float64)
        return _jensen_shannon(counts, total - counts)

    deals = np.array([divergence(rng.permutation(is_new)) for _ in range(_SPLITS)])
    common = total >= _MIN_WORD_TEXTS
    names, after = names[common], (matrix @ is_new.astype(np.float64))[common]
    before = total[common] - after
    words_new = int(matrix[:, is_new].nnz)
    z = _log_odds(after, before, (words_new, matrix.nnz - words_new), len(texts))
    tails = np.minimum(_tail(after, n_new, before, n_old), _tail(before, n_old, after, n_new))
    gap = after / n_new - before / n_old
    p_values = np.minimum(2 * tails, 1.0)
    changed = (_adjusted(p_values) < _LEVEL) & (np.sign(gap) == np.sign(z))
    words = [
        WordDrift(
            word=str(names[j]),
            found=(int(before[j]), int(after[j])),
            shares=(float(before[j] / n_old), float(after[j] / n_new)),
            z=float(z[j]),
        )
        for j in np.flatnonzero(changed)
    ]
    more = sorted((w for w in words if w.z > 0), key=lambda w: (-w.z, w.word))
    less = sorted((w for w in words if w.z < 0), key=lambda w: (w.z, w.word))
    return VocabularyDrift(
        more=tuple(more[:_TOP]),
        less=tuple(less[:_TOP]),
        n_more=len(more),
        n_less=len(less),
        divergence=divergence(is_new),
        normal=_figure(float(np.median(deals)), deals),
    )


def _jensen_shannon(a: np.ndarray, b: np.ndarray) -> float:
    """Divergence of two distributions, given as counts, in bits (Lin, 1991)."""
    if not a.any() or not b.any():
        return 0.0
    p, q = a / a.sum(), b / b.sum()
    m = (p + q) / 2
    nats = (xlogy(p, p) + xlogy(q, q)).sum() / 2 - xlogy(m, m).sum()
    return float(np.clip(nats / np.log(2), 0.0, 1.0))


def _emerging(old: _Words, new: _Words, period: Period) -> tuple[EmergingTerm, ...]:
    results = [period.results[row] for row in new.rows]
    bare = np.array([not (r.aspects or r.signals) for r in results], dtype=bool)
    terms = [_terms_of(sentences) for sentences in new.sentences]
    counts = Counter(
        term
        for term_list, is_bare in zip(terms, bare, strict=True)
        if is_bare
        for term in set(term_list)
    )
    names = sorted(term for term, n in counts.items() if n >= _MIN_WORD_TEXTS)
    if not names or not old.sentences:
        return ()
    counter = CountVectorizer(analyzer=_identity, binary=True, vocabulary=names)
    present = counter.transform(terms).tocsc()
    old_terms = [_terms_of(sentences) for sentences in old.sentences]
    before = np.asarray(counter.transform(old_terms).sum(axis=0)).ravel()
    after = np.asarray(present.sum(axis=0)).ravel()
    among = np.asarray(present[bare].sum(axis=0)).ravel()
    n_old, n_new, n_bare = len(old_terms), len(terms), int(bare.sum())
    n_words = [len(set(term_list)) for term_list in terms]
    words_new, words_bare = sum(n_words), int(np.dot(n_words, bare))
    words_old = sum(len(set(term_list)) for term_list in old_terms)
    # It must stand out in all new answers too: "geen opmerkingen" always does in those without
    # a label.
    z = np.minimum(
        _log_odds(among, before, (words_bare, words_old), n_bare + n_old),
        _log_odds(after, before, (words_new, words_old), n_new + n_old),
    )
    p_values = np.maximum(_tail(among, n_bare, before, n_old), _tail(after, n_new, before, n_old))
    chosen = np.flatnonzero((_adjusted(p_values) < _EMERGING_LEVEL) & (z > 0))
    ranked = sorted(chosen.tolist(), key=lambda j: (-z[j], names[j]))
    rows_of = {j: set(present.indices[present.indptr[j] : present.indptr[j + 1]]) for j in ranked}
    found: list[EmergingTerm] = []
    for leader, related in _families(ranked, rows_of):
        first = sorted(i for i in rows_of[leader] if bare[i])[:_EXAMPLES]
        found.append(
            EmergingTerm(
                term=names[leader],
                unlabelled=int(among[leader]),
                found=(int(before[leader]), int(after[leader])),
                shares=(float(before[leader] / n_old), float(after[leader] / n_new)),
                z=float(z[leader]),
                related=tuple(names[j] for j in related),
                rows=tuple(new.rows[i] for i in first),
            )
        )
    return tuple(found[:_TOP])


def _families(ranked: Sequence[int], rows_of: dict[int, set[int]]) -> list[tuple[int, list[int]]]:
    """Put each term with the first one before it that largely stands in the same answers."""
    families: list[tuple[int, list[int]]] = []
    for term in ranked:
        rows = rows_of[term]
        for leader, related in families:
            if len(rows & rows_of[leader]) >= _SAME_TEXTS * len(rows):
                related.append(term)
                break
        else:
            families.append((term, []))
    return families


def _adjusted(p_values: np.ndarray) -> np.ndarray:
    """P-values adjusted for false discoveries; none for none."""
    return np.asarray(false_discovery_control(p_values)) if len(p_values) else p_values


def _identity(terms: list[str]) -> list[str]:
    return terms


def _plain(value: Any) -> Any:
    """Plain data of JSON, rounded; a `Figure` becomes [value, low, high]."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        if set(value) == {"value", "low", "high"}:
            return [_plain(value[key]) for key in ("value", "low", "high")]
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
