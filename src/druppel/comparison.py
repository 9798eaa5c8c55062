"""Whether a new model is better than an old one, and for what.

Both label the same held-out texts once. Every figure is F1 (or accuracy) of the labels that both
models have, with the difference between them, new minus old. The two taxonomies may differ: a
leaf counts for the category it has in the new one, a label that only one of them has gets
figures of its own and no judgement.

Intervals are paired bootstrap percentiles over texts: a draw counts for both models (Efron and
Tibshirani 1993, An introduction to the bootstrap, ch. 13). Whether a difference is chance is
judged by approximate randomization, which swaps the two models' outcomes text by text and holds
its error rate where few texts differ (Yeh 2000, More accurate tests for the statistical
significance of result differences). With forty labels one or two would differ by chance, so the
p values of each table are adjusted by the step-down method of Holm (1979, A simple sequentially
rejective multiple test procedure): the chance of even one wrong "better" or "worse" in a table is
at most one in twenty.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import length_hint
from typing import Any

import numpy as np

from druppel.cases import ANY_IRRITATION, Case, found_labels
from druppel.corpus import LabelledText
from druppel.errors import InputError
from druppel.evaluation import f1, macro_f1
from druppel.labeler import BATCH_SIZE, Labeler
from druppel.progress import NoProgress, Progress
from druppel.result import SENTIMENTS, Result
from druppel.taxonomy import Taxonomy

VIEWS = ("irritation", "leaf", "signal")
"""What a label is counted as: a category or leaf as an irritation, or a signal."""

FIGURES = (
    "irritation.micro",
    "sentiment.accuracy",
    "irritation.macro",
    "leaf.micro",
    "signal.micro",
)
"""Overall figures; the first two are what a model is judged by."""

JUDGEMENTS = BETTER, WORSE, EQUAL, TOO_FEW, NEW, GONE = (
    "beter",
    "slechter",
    "gelijk",
    "te weinig",
    "nieuw",
    "vervallen",
)
"""Of a figure: significantly better or worse, no demonstrable difference, too few texts to tell,
and labels that only the new or only the old taxonomy has."""

VERDICTS = (BETTER, WORSE, MIXED := "wisselend", EQUAL, TOO_FEW)
"""Of a model: better, worse, better in one thing and worse in another, no difference that matters,
and too few texts to tell."""

ENOUGH = 10
"""A label that fewer texts bear is not judged."""

MARGIN = 0.02
"""A smaller difference does not matter: a category may lose this much."""

SIGNIFICANT = 0.05
MIN_TEXTS = 100
"""With fewer texts "no difference" is never the verdict."""

_PRECISION = 0.05  # half width of the interval that a held-out set should reach
_DRAWS = 2000
_SWAPS = 9999
_CHUNK = 500
_PRIMARY = FIGURES[:2]
_SENTIMENT = "sentiment"
_KINDS = dict(zip(VIEWS, ("categories", "leaves", "signals"), strict=True))
_SAME = 1e-9

_Cell = tuple[str, str]  # view and slug
_Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class HeldOut:
    """Annotated texts that neither model was trained on.

    Attributes
    ----------
    name : str
        Dutch name for the reader, such as "eigen meetset".
    texts : tuple of LabelledText
        Labels by the slugs of the new taxonomy where the two differ.
    annotated : frozenset of str
        Slugs of the categories, leaves and signals that were annotated. Others are not counted:
        a category that was added later was not annotated, so finding it here is no error.
    """

    name: str
    texts: tuple[LabelledText, ...] = field(repr=False)
    annotated: frozenset[str] = field(repr=False)

    def only_annotated(self, result: Result) -> Result:
        """Leave out of a result what nobody looked for in these texts."""
        return replace(
            result,
            aspects=tuple(a for a in result.aspects if (a.leaf or a.category) in self.annotated),
            signals=tuple(s for s in result.signals if s.signal in self.annotated),
        )


@dataclass(frozen=True)
class Difference:
    """A figure of both models.

    Attributes
    ----------
    name : str
        One of `FIGURES`.
    old, new, change : float
        `change` is new minus old.
    low, high : float
        95 % interval of the change.
    p : float
        Of the change, two-sided, adjusted for the figures of its table.
    judgement : str
        `BETTER`, `WORSE` or `EQUAL`.
    """

    name: str
    old: float
    new: float
    change: float
    low: float
    high: float
    p: float
    judgement: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, rounded to four decimals."""
        return _plain(self)


@dataclass(frozen=True)
class LabelDifference:
    """F1 of one label by both models.

    Attributes
    ----------
    view : str
        One of `VIEWS`.
    label : str
        Slug.
    support : int
        Texts that bear it according to the annotation.
    old, new : float or None
        F1; None where that taxonomy lacks the label or no text bears it.
    change, low, high, p : float or None
        As of `Difference`; None unless both models have a figure, and `p` None unless judged.
    judgement : str
        One of `JUDGEMENTS`.
    better, worse : int
        Texts in which the new model is right of this label where the old one was wrong, and the
        other way about.
    """

    view: str
    label: str
    support: int
    old: float | None
    new: float | None
    change: float | None
    low: float | None
    high: float | None
    p: float | None
    judgement: str
    better: int
    worse: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, rounded to four decimals."""
        return _plain(self)


@dataclass(frozen=True)
class SetComparison:
    """Both models on one held-out set, or on all of them.

    Attributes
    ----------
    name : str
    n_texts : int
    figures : tuple of Difference
        Those of `FIGURES` that these texts can tell.
    labels : tuple of LabelDifference
        View by view, those with most texts first.
    """

    name: str
    n_texts: int
    figures: tuple[Difference, ...]
    labels: tuple[LabelDifference, ...]

    def figure(self, name: str) -> Difference | None:
        """One of the figures; None where these texts do not tell."""
        return next((f for f in self.figures if f.name == name), None)

    def of(self, view: str) -> tuple[LabelDifference, ...]:
        """The labels of one view."""
        return tuple(row for row in self.labels if row.view == view)

    @property
    def texts_needed(self) -> int:
        """About how many more texts tell the difference in irritations to within 0.05.

        The interval narrows with the square root of the number of texts.
        """
        found = self.figure("irritation.micro")
        return texts_needed(self.n_texts, (found.high - found.low) / 2 if found else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "name": self.name,
            "n_texts": self.n_texts,
            "texts_needed": self.texts_needed,
            "figures": {f.name: _without(f.to_dict(), "name") for f in self.figures},
            "labels": {
                view: {row.label: _without(row.to_dict(), "view", "label") for row in self.of(view)}
                for view in VIEWS
            },
        }


@dataclass(frozen=True)
class Labels:
    """What an annotator or a model says of a text: irritations (leaf, or category), and the rest.

    `sentiment` is None where nothing was said of it.
    """

    irritations: tuple[str, ...]
    sentiment: str | None
    signals: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """A text that one model labels rightly and the other does not. Holds a customer's words."""

    id: str
    set: str
    text: str = field(repr=False)
    question: str | None = field(repr=False)
    score: float | None
    gold: Labels
    old: Labels
    new: Labels


@dataclass(frozen=True)
class Examples:
    """Texts in which the new model does better, or worse, at one label.

    Attributes
    ----------
    view : str
        "irritation", "signal" or "sentiment".
    label : str
        Slug; "sentiment" for the sentiment of the text.
    n_better, n_worse : int
        In how many texts.
    better, worse : tuple of Example
        Some of them, chosen at random.
    """

    view: str
    label: str
    n_better: int
    n_worse: int
    better: tuple[Example, ...]
    worse: tuple[Example, ...]


@dataclass(frozen=True)
class CaseChange:
    """A challenge case that one model passes and the other fails.

    Attributes
    ----------
    id, group, text : str
    lacks, has : tuple of str
        Labels that the failing model wrongly lacks or has, in the notation of the cases.
    sentiment : str or None
        The sentiment that it wrongly gives; None where the sentiment is not what failed, and
        "geen" where it gave none.
    """

    id: str
    group: str
    text: str = field(repr=False)
    lacks: tuple[str, ...]
    has: tuple[str, ...]
    sentiment: str | None


@dataclass(frozen=True)
class CaseComparison:
    """Challenge cases whose labels both taxonomies have.

    Attributes
    ----------
    groups : dict of str to tuple of int
        Number of cases, passed by the old and by the new model.
    lost, won : tuple of CaseChange
        What only the old model passes, and what only the new model passes.
    only_new, only_old : tuple of int
        Number of cases that only this taxonomy has the labels of, and how many were passed.
    """

    groups: dict[str, tuple[int, int, int]]
    lost: tuple[CaseChange, ...]
    won: tuple[CaseChange, ...]
    only_new: tuple[int, int]
    only_old: tuple[int, int]

    @property
    def total(self) -> tuple[int, int, int]:
        """Number of cases, passed by the old and by the new model."""
        rows = list(self.groups.values())
        n, old, new = (sum(row[i] for row in rows) for i in range(3))
        return n, old, new

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, without the texts."""

        def plain(change: CaseChange) -> dict[str, Any]:
            return _without(_plain(change), "text")

        return {
            "groups": {group: list(counts) for group, counts in self.groups.items()},
            "lost": [plain(change) for change in self.lost],
            "won": [plain(change) for change in self.won],
            "only_new": list(self.only_new),
            "only_old": list(self.only_old),
        }


@dataclass(frozen=True)
class VolumeChange:
    """How many texts of a file get a label.

    Attributes
    ----------
    view : str
        One of `VIEWS`, or "sentiment".
    label : str
        Slug, or the sentiment.
    old, new : int or None
        Number of texts; None where that taxonomy lacks the label.
    gained, lost : int
        Texts that only the new, or only the old model gives it.
    """

    view: str
    label: str
    old: int | None
    new: int | None
    gained: int
    lost: int


@dataclass(frozen=True)
class VolumeComparison:
    """What the new model changes in the labels of a file.

    Attributes
    ----------
    n_texts : int
    changed : int
        Texts of which a category, the sentiment or a signal changes.
    review_old, review_new : int
        Texts that a person should look at.
    labels : tuple of VolumeChange
    """

    n_texts: int
    changed: int
    review_old: int
    review_new: int
    labels: tuple[VolumeChange, ...]

    def of(self, view: str) -> tuple[VolumeChange, ...]:
        """The labels of one view."""
        return tuple(row for row in self.labels if row.view == view)

    def share(self, count: int | None) -> float | None:
        """Share of the texts; None for no count."""
        return None if count is None else count / max(self.n_texts, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "n_texts": self.n_texts,
            "changed": self.changed,
            "review": [self.review_old, self.review_new],
            "labels": {
                view: {row.label: _without(_plain(row), "view", "label") for row in self.of(view)}
                for view in (*VIEWS, _SENTIMENT)
            },
        }


@dataclass(frozen=True)
class Comparison:
    """A new model against an old one.

    Attributes
    ----------
    old, new : str
        Names of the models.
    verdict : str
        One of `VERDICTS`. Better when a main figure (irritations micro, sentiment) or a category
        is significantly better, another overall figure counting too; worse when
        `significantly_worse`; mixed when both. Else no difference when the intervals of both main
        figures lie within `MARGIN` and there are at least `MIN_TEXTS` texts, and too few texts
        when not.
    together : SetComparison
        On all held-out texts.
    sets : tuple of SetComparison
        On each set that holds texts.
    empty : tuple of str
        Names of the sets that hold none.
    examples : tuple of Examples
    cases : CaseComparison or None
    volumes : VolumeComparison or None
    names : dict of str to str
        Dutch name of each slug.
    parents : dict of str to str
        Category of each leaf.
    """

    old: str
    new: str
    verdict: str
    together: SetComparison
    sets: tuple[SetComparison, ...]
    empty: tuple[str, ...]
    examples: tuple[Examples, ...]
    cases: CaseComparison | None
    volumes: VolumeComparison | None
    names: dict[str, str]
    parents: dict[str, str]

    @property
    def significantly_worse(self) -> bool:
        """Whether promoting the new model must be asked for twice.

        On all held-out texts together: the irritations (micro F1) or the sentiment (accuracy)
        significantly worse, by however little, or a category that at least `ENOUGH` texts bear
        significantly worse by more than `MARGIN`. Significant is p < 0.05 after Holm's
        adjustment: of the two main figures together, and of all categories together. Leaves,
        signals and the smaller figures do not count: what they lose weighs less.
        """
        return bool(_setbacks(self.together))

    @property
    def setbacks(self) -> tuple[str, ...]:
        """Why it is `significantly_worse`: names of figures and slugs of categories."""
        return _setbacks(self.together)

    def to_dict(self, *, texts: bool = False) -> dict[str, Any]:
        """Return plain data for JSON.

        Parameters
        ----------
        texts : bool, default=False
            With the example texts, which are what customers wrote.
        """
        found: dict[str, Any] = {
            "old": self.old,
            "new": self.new,
            "verdict": self.verdict,
            "significantly_worse": self.significantly_worse,
            "setbacks": list(self.setbacks),
            "together": self.together.to_dict(),
            "sets": [one.to_dict() for one in self.sets],
            "empty": list(self.empty),
            "cases": self.cases.to_dict() if self.cases else None,
            "volumes": self.volumes.to_dict() if self.volumes else None,
        }
        if texts:
            found["examples"] = [
                {
                    **_without(_plain(group), "better", "worse"),
                    "better": [_plain_example(example) for example in group.better],
                    "worse": [_plain_example(example) for example in group.worse],
                }
                for group in self.examples
            ]
        return found


def compare(
    old: Labeler,
    new: Labeler,
    sets: Sequence[HeldOut],
    *,
    cases: Sequence[Case] = (),
    volumes: Iterable[str] | None = None,
    questions: Iterable[str | None] | None = None,
    scores: Iterable[float | None] | None = None,
    names: tuple[str, str] | None = None,
    n_examples: int = 5,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models on held-out texts, challenge cases and a file of choice.

    Parameters
    ----------
    old, new : Labeler
        Their taxonomies may differ.
    sets : sequence of HeldOut
        At least one with texts.
    cases : sequence of Case, optional
        A model is tried on those whose labels its taxonomy has.
    volumes : iterable of str, optional
        Texts of a file, read once; memory does not grow with their number.
    questions, scores : iterables, optional
        Of these texts, as many as there are.
    names : (str, str), optional
        What to call the models; by default their titles.
    n_examples : int, default=5
        Most example texts a label, better and worse each.
    random_state : int, default=0
        Seeds the intervals, the tests and the choice of examples.
    progress : Progress, optional

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If there are no held-out texts at all.
    ValueError
        If there are fewer or more questions or scores than texts.
    """
    held_out = [one for one in sets if one.texts]
    if not held_out:
        msg = (
            "There are no held-out texts to compare the models on. Give at least one annotated "
            "text that neither model was trained on."
        )
        raise InputError(msg)
    progress = progress or NoProgress()
    try:
        board = _Board.fill(old, new, held_out, progress)
        found_cases = _compare_cases(old, new, cases, progress) if cases else None
        found_volumes = (
            None
            if volumes is None
            else _compare_volumes(old, new, volumes, questions, scores, progress)
        )
    finally:
        progress.end()
    found = [
        board.compare(one.name, np.flatnonzero(board.owner == i), random_state)
        for i, one in enumerate(held_out)
    ]
    together = found[0]
    if len(found) > 1:
        together = board.compare("alle meetteksten", np.arange(len(board.texts)), random_state)
    before, after = old.model.taxonomy, new.model.taxonomy
    empty = tuple(one.name for one in sets if not one.texts)
    return Comparison(
        old=names[0] if names else old.model.title,
        new=names[1] if names else new.model.title,
        verdict=_verdict(together),
        together=together,
        sets=tuple(found),
        empty=empty,
        examples=board.examples(n_examples, random_state),
        cases=found_cases,
        volumes=found_volumes,
        names={**before.names, **after.names},
        parents={**before.parent, **after.parent},
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values so that the chance of any false rejection stays below the level.

    Holm (1979), A simple sequentially rejective multiple test procedure. Holds whatever the
    dependence between the tests, which here share texts.

    Examples
    --------
    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min((len(p_values) - rank) * p_values[i], 1.0))
        adjusted[i] = highest
    return adjusted


def texts_needed(n_texts: int, half_width: float) -> int:
    """About how many more texts make an interval 0.05 wide on either side, rounded up to tens.

    Parameters
    ----------
    n_texts : int
        Texts so far; under `MIN_TEXTS` there are always too few.
    half_width : float
        Of the interval with these texts.

    Examples
    --------
    >>> texts_needed(150, 0.08)
    240
    >>> texts_needed(2000, 0.01)
    0
    """
    wanted = max(MIN_TEXTS, n_texts * (half_width / _PRECISION) ** 2)
    return max(math.ceil(round((wanted - n_texts) / 10, 6)) * 10, 0)


# --- counting ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Space:
    """The labels of both taxonomies, seen through the new one.

    `owners` are the categories that a leaf counts for: that of the new taxonomy, and that of the
    old one where the new one lacks the leaf or the category.
    """

    cells: tuple[_Cell, ...]
    column: dict[_Cell, int]
    owners: dict[str, set[str]]
    in_old: np.ndarray
    in_new: np.ndarray
    shared: np.ndarray
    views: np.ndarray

    @classmethod
    def of(cls, old: Taxonomy, new: Taxonomy) -> _Space:
        theirs, ours = _cells(old), _cells(new)
        cells = sorted(dict.fromkeys((*ours, *theirs)), key=lambda cell: VIEWS.index(cell[0]))
        owners: dict[str, set[str]] = {leaf: {owner} for leaf, owner in new.parent.items()}
        for leaf, owner in old.parent.items():
            if leaf not in owners or ("irritation", owner) not in ours:
                owners.setdefault(leaf, set()).add(owner)
        in_old = np.array([cell in theirs for cell in cells])
        in_new = np.array([cell in ours for cell in cells])
        return cls(
            cells=tuple(cells),
            column={cell: j for j, cell in enumerate(cells)},
            owners=owners,
            in_old=in_old,
            in_new=in_new,
            shared=in_old & in_new,
            views=np.array([view for view, _ in cells]),
        )

    def said(self, text: LabelledText, annotated: frozenset[str]) -> set[_Cell]:
        """What the annotation says, as far as it was asked."""
        found: set[_Cell] = {("signal", signal) for signal in text.signals}
        for aspect in text.aspects:
            if aspect.polarity == "neg" and aspect.leaf in annotated:
                found.add(("leaf", aspect.leaf))
                found |= {("irritation", c) for c in self.owners.get(aspect.leaf, ())}
        return {cell for cell in found if cell[1] in annotated and cell in self.column}

    def found(self, result: Result, said: set[_Cell], annotated: frozenset[str]) -> set[_Cell]:
        """What a model says, as far as the annotation can tell right from wrong.

        A leaf that was not annotated is no ground to call its category wrong.
        """
        cells: set[_Cell] = {("signal", signal.signal) for signal in result.signals}
        for aspect in result.aspects:
            if aspect.polarity != "neg":
                continue
            leaf = aspect.leaf
            owners = {aspect.category} if leaf is None else self.owners[leaf]
            named: set[_Cell] = {("irritation", c) for c in owners}
            cells |= named if leaf is None or leaf in annotated else named & said
            if leaf is not None:
                cells.add(("leaf", leaf))
        return {cell for cell in cells if cell[1] in annotated and cell in self.column}


def _cells(taxonomy: Taxonomy) -> dict[_Cell, None]:
    return {
        (view, label.slug): None
        for view, kind in _KINDS.items()
        for label in getattr(taxonomy, kind)
    }


@dataclass(frozen=True)
class _Board:
    """Who said what of each held-out text, as indicators of shape (n_texts, n_labels)."""

    space: _Space
    texts: tuple[LabelledText, ...]
    sets: tuple[HeldOut, ...]
    owner: np.ndarray
    results_old: list[Result]
    results_new: list[Result]
    annotated: np.ndarray
    truth: np.ndarray
    old: np.ndarray
    new: np.ndarray

    @classmethod
    def fill(
        cls, old: Labeler, new: Labeler, sets: Sequence[HeldOut], progress: Progress
    ) -> _Board:
        space = _Space.of(old.model.taxonomy, new.model.taxonomy)
        texts = tuple(text for one in sets for text in one.texts)
        owner = np.repeat(np.arange(len(sets)), [len(one.texts) for one in sets])
        results = [
            _label(labeler, texts, stage, progress)
            for labeler, stage in ((old, "old model"), (new, "new model"))
        ]
        shape = len(texts), len(space.cells)
        annotated = np.array(
            [[slug in sets[i].annotated for _, slug in space.cells] for i in range(len(sets))]
        )[owner].reshape(shape)
        truth, first, second = (np.zeros(shape, dtype=bool) for _ in range(3))
        for i, text in enumerate(texts):
            asked = sets[owner[i]].annotated
            said = space.said(text, asked)
            truth[i, [space.column[cell] for cell in said]] = True
            for indicator, found in ((first, results[0][i]), (second, results[1][i])):
                cells = space.found(found, said, asked)
                indicator[i, [space.column[cell] for cell in cells]] = True
        return cls(
            space,
            texts,
            tuple(sets),
            owner,
            results[0],
            results[1],
            annotated,
            truth,
            first & space.in_old,
            second & space.in_new,
        )

    def compare(self, name: str, rows: np.ndarray, random_state: int) -> SetComparison:
        """Figures of some of the texts."""
        n_labels = len(self.space.cells)
        tally_old = self._tally(self.old, self.results_old)[rows]
        tally_new = self._tally(self.new, self.results_new)[rows]
        asked = self.annotated[rows].any(axis=0) & self.space.shared
        columns = {view: np.flatnonzero(asked & (self.space.views == view)) for view in VIEWS}

        def statistic(sums: np.ndarray) -> np.ndarray:
            """Overall figures, then F1 of each label, of sums of shape (n_draws, n_counts)."""
            hits, false, missed = (
                sums[:, part * n_labels : (part + 1) * n_labels] for part in range(3)
            )
            micro = {
                view: f1(*(counts[:, at].sum(axis=1) for counts in (hits, false, missed)))
                for view, at in columns.items()
            }
            at = columns["irritation"]
            figures = {
                "irritation.micro": micro["irritation"],
                "sentiment.accuracy": sums[:, -2] / np.maximum(sums[:, -1], 1),
                "irritation.macro": macro_f1(hits[:, at], false[:, at], missed[:, at]),
                "leaf.micro": micro["leaf"],
                "signal.micro": micro["signal"],
            }
            overall = np.stack([figures[name] for name in FIGURES], axis=1)
            return np.concatenate([overall, f1(hits, false, missed)], axis=1)

        rng = np.random.default_rng(random_state)
        low, high = _interval(tally_old, tally_new, statistic, rng)
        p = _randomization(tally_old, tally_new, statistic, rng)
        old, new = (
            statistic(tally.sum(axis=0, dtype=float, keepdims=True))[0]
            for tally in (tally_old, tally_new)
        )
        total = (tally_old + tally_new).sum(axis=0)
        concerned = total[: 3 * n_labels].reshape(3, n_labels).sum(axis=0)
        told = {view: bool(concerned[at].any()) for view, at in columns.items()}
        told["sentiment"] = bool(total[-1])
        kept = [f for f in FIGURES if told[f.partition(".")[0]]]
        adjusted: dict[str, float] = {}
        for family in (_PRIMARY, [f for f in FIGURES if f not in _PRIMARY]):
            members = [f for f in family if f in kept]
            chances = holm([float(p[FIGURES.index(f)]) for f in members])
            adjusted.update(zip(members, chances, strict=True))
        figures = tuple(
            Difference(
                name=f,
                old=float(old[i]),
                new=float(new[i]),
                change=float(new[i] - old[i]),
                low=float(low[i]),
                high=float(high[i]),
                p=adjusted[f],
                judgement=_judge(float(new[i] - old[i]), adjusted[f]),
            )
            for i, f in enumerate(FIGURES)
            if f in kept
        )
        k = len(FIGURES)
        labels = self._labels(rows, old[k:], new[k:], low[k:], high[k:], p[k:])
        return SetComparison(name, len(rows), figures, labels)

    def _tally(self, guess: np.ndarray, results: Sequence[Result]) -> np.ndarray:
        """Hits, false alarms and misses by label, whether the sentiment is right, and was judged.

        Of shape (n_texts, 3 * n_labels + 2).
        """
        judged = np.array([text.sentiment is not None for text in self.texts])
        right = judged & np.array(
            [
                result.sentiment is not None and result.sentiment.label == text.sentiment
                for text, result in zip(self.texts, results, strict=True)
            ]
        )
        parts = [self.truth & guess, ~self.truth & guess, self.truth & ~guess]
        return np.concatenate([*parts, right[:, None], judged[:, None]], axis=1).astype(np.float32)

    def _labels(
        self,
        rows: np.ndarray,
        old: np.ndarray,
        new: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        p: np.ndarray,
    ) -> tuple[LabelDifference, ...]:
        space, truth = self.space, self.truth[rows]
        support = truth.sum(axis=0)
        right_old, right_new = truth == self.old[rows], truth == self.new[rows]
        better = (right_new & ~right_old).sum(axis=0)
        worse = (right_old & ~right_new).sum(axis=0)
        asked = self.annotated[rows].any(axis=0)
        adjusted: dict[int, float] = {}
        for view in VIEWS:
            judged = np.flatnonzero(space.shared & (space.views == view) & (support >= ENOUGH))
            chances = holm([float(p[j]) for j in judged])
            adjusted.update(zip(judged.tolist(), chances, strict=True))
        found = []
        for j, (view, slug) in enumerate(space.cells):
            both = bool(space.shared[j])
            if both and not asked[j]:
                continue
            known = bool(support[j])
            change = float(new[j] - old[j]) if both and known else None
            if not both:
                judgement = NEW if space.in_new[j] else GONE
            elif j in adjusted and change is not None:
                judgement = _judge(change, adjusted[j])
            else:
                judgement = TOO_FEW
            found.append(
                LabelDifference(
                    view=view,
                    label=slug,
                    support=int(support[j]),
                    old=float(old[j]) if known and space.in_old[j] else None,
                    new=float(new[j]) if known and space.in_new[j] else None,
                    change=change,
                    low=None if change is None else float(low[j]),
                    high=None if change is None else float(high[j]),
                    p=adjusted.get(j),
                    judgement=judgement,
                    better=int(better[j]),
                    worse=int(worse[j]),
                )
            )
        return tuple(
            sorted(found, key=lambda row: (VIEWS.index(row.view), -row.support, row.label))
        )

    def examples(self, limit: int, random_state: int) -> tuple[Examples, ...]:
        """Texts that went from wrong to right, or from right to wrong, by label."""
        order = np.random.default_rng(random_state).permutation(len(self.texts))
        right_old, right_new = self.truth == self.old, self.truth == self.new
        at = [j for j, (view, _) in enumerate(self.space.cells) if view != "leaf"]
        marks: list[tuple[_Cell, np.ndarray, np.ndarray]] = [
            (self.space.cells[j], right_old[:, j], right_new[:, j]) for j in at
        ]
        n_counts = 3 * len(self.space.cells)
        marks.append(
            (
                (_SENTIMENT, _SENTIMENT),
                self._tally(self.old, self.results_old)[:, n_counts] > 0,
                self._tally(self.new, self.results_new)[:, n_counts] > 0,
            )
        )
        found = []
        for (view, label), was, now in marks:
            better = [int(i) for i in order if now[i] and not was[i]]
            worse = [int(i) for i in order if was[i] and not now[i]]
            if better or worse:
                found.append(
                    Examples(
                        view=view,
                        label=label,
                        n_better=len(better),
                        n_worse=len(worse),
                        better=tuple(self._example(i) for i in better[:limit]),
                        worse=tuple(self._example(i) for i in worse[:limit]),
                    )
                )
        return tuple(found)

    def _example(self, i: int) -> Example:
        text = self.texts[i]
        said = [a.leaf for a in text.aspects if a.polarity == "neg"]
        return Example(
            id=text.id,
            set=self.sets[self.owner[i]].name,
            text=text.text,
            question=text.question,
            score=text.score,
            gold=Labels(tuple(dict.fromkeys(said)), text.sentiment, text.signals),
            old=_labels_of(self.results_old[i]),
            new=_labels_of(self.results_new[i]),
        )


def _labels_of(result: Result) -> Labels:
    found = [a.leaf or a.category for a in result.aspects if a.polarity == "neg"]
    return Labels(
        tuple(dict.fromkeys(found)),
        result.sentiment.label if result.sentiment else None,
        tuple(signal.signal for signal in result.signals),
    )


def _label(
    labeler: Labeler, texts: Sequence[LabelledText], stage: str, progress: Progress
) -> list[Result]:
    progress.begin(stage, len(texts))
    results = []
    for result in labeler.label_many(
        [t.text for t in texts], [t.question for t in texts], [t.score for t in texts]
    ):
        results.append(result)
        progress.advance(1)
    return results


# --- chance --------------------------------------------------------------------------------


def _interval(
    old: np.ndarray, new: np.ndarray, statistic: _Statistic, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the differences, over draws of texts that count for both models."""
    n = len(old)
    changes = []
    for _ in range(_DRAWS // _CHUNK):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=_CHUNK).astype(np.float32)
        drawn = [statistic((weights @ tally).astype(float)) for tally in (old, new)]
        changes.append(drawn[1] - drawn[0])
    low, high = np.quantile(np.concatenate(changes), [0.025, 0.975], axis=0)
    return low, high


def _randomization(
    old: np.ndarray, new: np.ndarray, statistic: _Statistic, rng: np.random.Generator
) -> np.ndarray:
    """Two-sided p values: how often swapping the models at random differs as much."""
    total_old, total_new = (tally.sum(axis=0, dtype=float) for tally in (old, new))
    observed = np.abs(statistic(total_new[None]) - statistic(total_old[None]))[0]
    step = new - old
    step = step[step.any(axis=1)]  # the other texts stay the same, swapped or not
    reached = np.zeros(len(observed))
    left = _SWAPS
    while left:
        size = min(left, _CHUNK)
        left -= size
        moved = (rng.integers(0, 2, size=(size, len(step))).astype(np.float32) @ step).astype(float)
        changes = statistic(total_new - moved) - statistic(total_old + moved)
        reached += (np.abs(changes) >= observed - _SAME).sum(axis=0)
    return np.asarray((reached + 1) / (_SWAPS + 1))


def _judge(change: float, p: float) -> str:
    if p >= SIGNIFICANT or not change:
        return EQUAL
    return BETTER if change > 0 else WORSE


# --- cases and volumes ---------------------------------------------------------------------


def _compare_cases(
    old: Labeler, new: Labeler, cases: Sequence[Case], progress: Progress
) -> CaseComparison:
    outcomes: list[dict[str, Result]] = []
    for labeler in (old, new):
        known = [case for case in cases if _within(case, labeler.model.taxonomy)]
        progress.begin("cases", len(known))
        results = labeler.label_many(
            [case.text for case in known],
            [case.question for case in known],
            [case.score for case in known],
        )
        outcomes.append({c.id: r for c, r in zip(known, results, strict=True)})
        progress.advance(len(known))
    groups: dict[str, tuple[int, int, int]] = {}
    lost, won = [], []
    alone = [[0, 0], [0, 0]]
    for case in cases:
        found = [outcome.get(case.id) for outcome in outcomes]
        passed = [result is not None and not case.failures(result) for result in found]
        if None in found:
            for counts, result, right in zip(alone, found, passed, strict=True):
                counts[0] += result is not None
                counts[1] += right
            continue
        n, was, now = groups.get(case.group, (0, 0, 0))
        groups[case.group] = n + 1, was + passed[0], now + passed[1]
        if passed[0] and not passed[1]:
            lost.append(_failure(case, outcomes[1][case.id]))
        elif passed[1] and not passed[0]:
            won.append(_failure(case, outcomes[0][case.id]))
    only_old, only_new = ((counts[0], counts[1]) for counts in alone)
    return CaseComparison(groups, tuple(lost), tuple(won), only_new, only_old)


def _within(case: Case, taxonomy: Taxonomy) -> bool:
    """Whether a taxonomy has the labels that a case is about."""
    named = {
        label.partition(":")[0] for label in case.expect | case.forbid if label != ANY_IRRITATION
    }
    return named <= set(taxonomy.names)


def _failure(case: Case, result: Result) -> CaseChange:
    found = found_labels(result)
    said = result.sentiment.label if result.sentiment else "geen"
    return CaseChange(
        id=case.id,
        group=case.group,
        text=case.text,
        lacks=tuple(sorted(case.expect - found)),
        has=tuple(sorted(case.forbid & found)),
        sentiment=said if case.sentiment and said not in case.sentiment else None,
    )


def _compare_volumes(
    old: Labeler,
    new: Labeler,
    texts: Iterable[str],
    questions: Iterable[str | None] | None,
    scores: Iterable[float | None] | None,
    progress: Progress,
) -> VolumeComparison:
    progress.begin("file", length_hint(texts) or None)
    counts = Counter[tuple[str, _Cell]]()
    n_texts = changed = 0
    review = [0, 0]
    given = [values for values in (texts, questions, scores) if values is not None]
    rows = zip(*given, strict=True)
    while chunk := list(itertools.islice(rows, BATCH_SIZE)):
        columns = [list(column) for column in zip(*chunk, strict=True)]
        arguments = (
            columns.pop(0),
            columns.pop(0) if questions is not None else None,
            columns.pop(0) if scores is not None else None,
        )
        n_texts += len(chunk)
        for was, now in zip(old.label_many(*arguments), new.label_many(*arguments), strict=True):
            before, after = _volume_cells(was), _volume_cells(now)
            counts.update(("old", cell) for cell in before)
            counts.update(("new", cell) for cell in after)
            counts.update(("lost", cell) for cell in before - after)
            counts.update(("gained", cell) for cell in after - before)
            changed += any(view != "leaf" for view, _ in before ^ after)
            review[0] += was.review
            review[1] += now.review
        progress.advance(len(chunk))
    theirs, ours = _cells(old.model.taxonomy), _cells(new.model.taxonomy)
    sentiments: dict[_Cell, None] = {(_SENTIMENT, label): None for label in SENTIMENTS}
    rows_found = [
        VolumeChange(
            view=cell[0],
            label=cell[1],
            old=counts["old", cell] if cell in theirs or cell in sentiments else None,
            new=counts["new", cell] if cell in ours or cell in sentiments else None,
            gained=counts["gained", cell],
            lost=counts["lost", cell],
        )
        for cell in dict.fromkeys((*ours, *theirs, *sentiments))
    ]
    views = (*VIEWS, _SENTIMENT)
    rows_found.sort(key=lambda row: views.index(row.view))
    return VolumeComparison(n_texts, changed, review[0], review[1], tuple(rows_found))


def _volume_cells(result: Result) -> set[_Cell]:
    cells: set[_Cell] = {("irritation", c) for c in result.irritations}
    cells |= {("leaf", a.leaf) for a in result.aspects if a.polarity == "neg" and a.leaf}
    cells |= {("signal", signal.signal) for signal in result.signals}
    if result.sentiment:
        cells.add((_SENTIMENT, result.sentiment.label))
    return cells


# --- the verdict ---------------------------------------------------------------------------


def _setbacks(found: SetComparison) -> tuple[str, ...]:
    figures = [f.name for f in found.figures if f.name in _PRIMARY and f.judgement == WORSE]
    categories = [
        row.label
        for row in found.of("irritation")
        if row.judgement == WORSE and row.change is not None and row.change < -MARGIN
    ]
    return (*figures, *categories)


def _verdict(found: SetComparison) -> str:
    worse = bool(_setbacks(found))
    better = any(f.judgement == BETTER for f in found.figures) or any(
        row.judgement == BETTER for row in found.of("irritation")
    )
    if worse:
        return MIXED if better else WORSE
    if better:
        return BETTER
    main = [f for f in found.figures if f.name in _PRIMARY]
    narrow = main and all(f.low >= -MARGIN and f.high <= MARGIN for f in main)
    return EQUAL if narrow and found.n_texts >= MIN_TEXTS else TOO_FEW


# --- plain data ----------------------------------------------------------------------------


def _plain(part: Any) -> dict[str, Any]:
    """The fields of a dataclass, floats rounded to four decimals and tuples as lists."""
    found = {}
    for name in part.__dataclass_fields__:
        value = getattr(part, name)
        if isinstance(value, float):
            value = round(value, 4)
        found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _plain_example(example: Example) -> dict[str, Any]:
    parts = {name: _plain(getattr(example, name)) for name in ("gold", "old", "new")}
    return {**_plain(example), **parts}


def _without(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in names}
