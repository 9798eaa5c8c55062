"""Which answers teach most when a person looks at them."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from druppel.corpus import LabelledText, near_duplicates
from druppel.corrections import MEASUREMENT, TRAINING, Decision, text_key
from druppel.errors import InputError
from druppel.features import Batch
from druppel.labeler import BATCH_SIZE, Labeler
from druppel.model import LabelSpace, Model, Probabilities, View, combine, expected_errors
from druppel.result import DUTCH, POLARITIES, Aspect, Result, Sentiment, Signal
from druppel.taxonomy import Taxonomy

MOST_CHARACTERS = 32_767
"""UTF-16 units that a spreadsheet's cell holds; a longer text is not asked."""

ENOUGH = 40
"""Examples of a leaf below which it is always rare."""

RANDOM = "willekeurig, voor eerlijke meting"
UNLIKE = "anders dan wat het model kent"
_DOUBT = "de twijfel over {} is groot"
_DISAGREE = "woorden en betekenis spreken elkaar tegen over {}"
_RARE = "zeldzaam: {}"
_SENTIMENT = "het sentiment"

# How the places that are not for measuring are shared. Fewest candidates first: each strategy
# takes what those before it left.
_SHARES = {"rare": 0.25, "disagreeing": 0.2, "unlike": 0.15, "uncertain": 0.4}
# Candidates for every place beyond its own, among which those that look alike give way.
_SHORTLIST, _MOST_MORE = 3, 400
_AT_ONCE = 50  # compared at the least, where those that come first are taken anyway
_NEAR = 0.5  # share of its threshold from which a rare label may well be there
_SAMPLE = 2000  # answers among which the nearest neighbour is sought
_FEW_WORDS = 5  # an unknown word says little of a text of two
# Words by which texts are told apart; near duplicates of fewer are equal or different.
_MIN_WORDS = 5
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class QueueItem:
    """An answer for a person to look at, with the labels that the model proposes.

    Attributes
    ----------
    text : str
    question : str or None
    score : float or None
        From 0 to 10.
    result : Result
        What the current model says.
    reason : str
        Why it was picked, in Dutch, for the person who looks.
    part : {"training", "meting"}
    row : int or None
        Row in the file that it came from, for people.
    """

    text: str
    question: str | None
    score: float | None
    result: Result
    reason: str
    part: str = TRAINING
    row: int | None = None

    @property
    def key(self) -> str:
        """Fingerprint of text and question, as in the history of decisions."""
        return text_key(self.text, self.question)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that may be picked.

    Attributes
    ----------
    text : str
    question : str or None
    score : float or None
        From 0 to 10.
    row : int or None
        Row in the file that it came from, for people.
    """

    text: str
    question: str | None = None
    score: float | None = None
    row: int | None = None


def pick(
    model: Model,
    answers: Iterable[Answer],
    *,
    size: int = 200,
    measure_share: float = 0.2,
    known: Collection[str] = frozenset(),
    counts: Mapping[str, int] | None = None,
    random_state: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[QueueItem]:
    """Pick the answers whose labels teach most, and a random slice to measure by.

    The random slice comes first, from all answers that can be asked, so that it is an honest
    sample of them. The other places go to answers about which the model is unsure (most expected
    errors, as in uncertainty sampling; Lewis & Gale 1994), whose words and vectors disagree
    (query by committee; Seung et al. 1992), that may hold a label with few examples, and that are
    unlike what the model knows. Within each, answers that look alike give way to others. The same
    or nearly the same answer is asked once.

    Parameters
    ----------
    model : Model
    answers : iterable of Answer
    size : int, default=200
        Answers to pick; fewer where there are not so many.
    measure_share : float, default=0.2
        Share of them for measurement.
    known : collection of str, optional
        Keys (see `text_key`) of texts that were decided before; they are not asked again.
    counts : mapping from str to int, optional
        Training examples of each leaf; without, no leaf counts as rare.
    random_state : int, default=0
    progress : callable, optional
        Told how many answers have been scored, and of how many.

    Returns
    -------
    list of QueueItem
        Mixed, so that whoever stops half-way has had half of everything.

    Raises
    ------
    InputError
        If `size` is less than 1 or `measure_share` no share.
    """
    if size < 1:
        msg = f"'size' must be 1 or more, got {size}."
        raise InputError(msg)
    if not 0 <= measure_share <= 1:
        msg = f"'measure_share' must be from 0 to 1, got {measure_share}."
        raise InputError(msg)
    rng = np.random.default_rng(random_state)
    scored = _Scored.of(model, _distinct(answers, known), progress)
    can_ask = np.flatnonzero([result.language == DUTCH for result in scored.results])
    n_places = min(size, len(can_ask))
    picker = _Picker(scored.answers)
    n_measure = round(n_places * measure_share)
    measure = picker.take(rng.permutation(can_ask), n_measure, diverse=False)
    queues = [[(i, RANDOM, MEASUREMENT) for i in measure]]
    rankings = scored.rankings(can_ask, counts or {}, rng)
    places = _shared(n_places - len(measure), {name: len(r) for name, r in rankings.items()})
    left = n_places - len(measure)
    for name, ranking in rankings.items():
        why = dict(ranking)
        # Rare leaves take turns in their ranking already.
        taken = picker.take(list(why), places[name], diverse=name != "rare")
        left -= len(taken)
        queues.append([(i, why[i], TRAINING) for i in taken])
    if left:
        why = dict(rankings["uncertain"])
        queues[-1] += [(i, why[i], TRAINING) for i in picker.take(list(why), left, diverse=False)]
    return [scored.item(i, reason, part) for i, reason, part in _mixed(queues)]


def as_result(labelled: LabelledText | Decision, taxonomy: Taxonomy, *, model: str = "") -> Result:
    """Return what a person said of a text as a result, to show or mend it as one.

    Parameters
    ----------
    labelled : LabelledText or Decision
    taxonomy : Taxonomy
    model : str, default=""
        What the result bears as the name of its model.

    Returns
    -------
    Result
        Evidence that is unknown is empty. A leaf that the taxonomy lacks has no category.
    """
    aspects = []
    for a in labelled.aspects:
        start = labelled.text.find(a.evidence) if a.evidence else -1
        evidence = (a.evidence or "") if start >= 0 else ""
        start = max(start, 0)
        category = taxonomy.parent.get(a.leaf, "")
        end = start + len(evidence)
        aspects.append(Aspect(category, a.leaf, a.polarity, 1.0, start, end, evidence))
    return Result(
        sentiment=None if labelled.sentiment is None else Sentiment(labelled.sentiment, 0.0),
        aspects=tuple(sorted(aspects, key=lambda a: a.start)),
        signals=tuple(Signal(signal, 1.0, 0, 0, "") for signal in labelled.signals),
        language=DUTCH,
        review=False,
        model=model,
    )


# --- what can be asked --------------------------------------------------------------------


def _distinct(answers: Iterable[Answer], known: Collection[str]) -> list[Answer]:
    """Answers with words that were not decided, each once, whatever its case and punctuation."""
    first: dict[tuple[str, str], Answer] = {}
    decided: set[tuple[str, str]] = set()
    for answer in answers:
        words = _folded(answer.text)
        if not words or n_units(answer.text) > MOST_CHARACTERS:
            continue
        key = (words, _folded(answer.question or ""))
        first.setdefault(key, answer)
        if text_key(answer.text, answer.question) in known:
            decided.add(key)
    return [answer for key, answer in first.items() if key not in decided]


def _folded(text: str) -> str:
    return " ".join(_WORDS.findall(text.lower()))


def n_units(text: str) -> int:
    """Length as spreadsheets count it."""
    return len(text) + sum(ch > "\uffff" for ch in text)


# --- what the model says of them ----------------------------------------------------------


@dataclass(frozen=True)
class _Scored:
    """Answers with what the strategies rank them by; each array has a row an answer.

    Attributes
    ----------
    results : list of Result
    doubt : ndarray
        Expected errors.
    doubtful : ndarray of int
        Category with most of them, or -1 for the sentiment.
    dispute : ndarray
        Largest difference between what words and vectors say of a category; zeros without encoder.
    disputed : ndarray of int
        That category.
    leaves : ndarray of shape (n_answers, n_leaves)
        Largest probability of each leaf as a share of its threshold.
    unknown : ndarray
        Share of words that the model does not know.
    vectors : ndarray of shape (n_answers, width) or None
    """

    space: LabelSpace
    names: Mapping[str, str]
    answers: list[Answer]
    results: list[Result]
    doubt: np.ndarray
    doubtful: np.ndarray
    dispute: np.ndarray
    disputed: np.ndarray
    leaves: np.ndarray
    unknown: np.ndarray
    vectors: np.ndarray | None

    @classmethod
    def of(
        cls, model: Model, answers: list[Answer], progress: Callable[[int, int], None]
    ) -> _Scored:
        """Score answers, once."""
        space, thresholds = model.space, model.thresholds()
        labeler = Labeler(model)
        results: list[Result] = []
        parts: list[list[np.ndarray]] = []
        vectors: list[np.ndarray] = []
        for begin in range(0, len(answers), BATCH_SIZE):
            some = answers[begin : begin + BATCH_SIZE]
            batch = labeler.cut(
                [a.text for a in some], [a.question for a in some], [a.score for a in some]
            )
            found, views, dense = _score(model, batch)
            results += labeler.results(batch, found)
            if dense is not None:
                vectors.append(dense)
            doubts = _doubts(found, thresholds, space)
            difference = _by_category(np.abs(views[0] - views[-1]), space)
            leaves = (found.texts / thresholds)[:, space.slices["leaf"]]
            n_words = np.array([len(_WORDS.findall(text)) for text in batch.texts])
            parts.append(
                [
                    expected_errors(found.texts, thresholds, found.sentiments, space),
                    doubts.argmax(axis=1) - 1,
                    difference.max(axis=1),
                    difference.argmax(axis=1),
                    leaves.reshape(len(some), -1, len(POLARITIES)).max(axis=2),
                    (1 - found.known) * n_words / (n_words + _FEW_WORDS),
                ]
            )
            progress(begin + len(some), len(answers))
        if not parts:
            none, whole = np.zeros(0), np.zeros(0, dtype=int)
            leaves = np.zeros((0, len(space.leaves)))
            parts.append([none, whole, none, whole, leaves, none])
        doubt, doubtful, dispute, disputed, leaf_shares, unknown = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return cls(
            space=space,
            names=model.taxonomy.names,
            answers=answers,
            results=results,
            doubt=doubt,
            doubtful=doubtful,
            dispute=dispute,
            disputed=disputed,
            leaves=leaf_shares,
            unknown=unknown,
            vectors=np.concatenate(vectors) if vectors else None,
        )

    def rankings(
        self, can_ask: np.ndarray, counts: Mapping[str, int], rng: np.random.Generator
    ) -> dict[str, list[tuple[int, str]]]:
        """Rank answers by each strategy, best first, with the reason."""
        categories = self.space.categories

        def category(number: int) -> str:
            return self.names[categories[number]] if number >= 0 else _SENTIMENT

        def ranked(value: np.ndarray) -> list[int]:
            order = np.argsort(-value[can_ask], kind="stable")
            return [int(i) for i in can_ask[order] if value[i] > 0]

        return {
            "rare": self._rare(can_ask, counts),
            "disagreeing": [
                (i, _DISAGREE.format(category(self.disputed[i]))) for i in ranked(self.dispute)
            ],
            "unlike": [(i, UNLIKE) for i in ranked(self._unlike(can_ask, rng))],
            "uncertain": [
                (i, _DOUBT.format(category(self.doubtful[i]))) for i in ranked(self.doubt)
            ],
        }

    def _rare(self, can_ask: np.ndarray, counts: Mapping[str, int]) -> list[tuple[int, str]]:
        """Answers that may hold a rare leaf; the leaves take turns, the rarest first."""
        if not counts or not len(can_ask):
            return []
        of_leaf = [counts.get(leaf, 0) for leaf in self.space.leaves]
        few = max(ENOUGH, float(np.median(of_leaf)) / 2)
        queues = []
        for number in np.argsort(of_leaf, kind="stable"):
            share = self.leaves[can_ask, number]
            # A leaf that was never learnt has the same probability everywhere.
            if of_leaf[number] >= few or np.ptp(share) == 0:
                continue
            best = can_ask[np.argsort(-share, kind="stable")]
            reason = _RARE.format(self.names[self.space.leaves[number]])
            queue = [(int(i), reason) for i in best if self.leaves[i, number] >= _NEAR]
            queues.append(queue)
        seen: set[int] = set()
        ranking = []
        for turn in range(max(map(len, queues), default=0)):
            for i, reason in (queue[turn] for queue in queues if turn < len(queue)):
                if i not in seen:
                    seen.add(i)
                    ranking.append((i, reason))
        return ranking

    def _unlike(self, can_ask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Words that the model does not know, and distance from the nearest other answer."""
        if self.vectors is None or len(can_ask) < 2:
            return self.unknown
        sample = np.sort(rng.permutation(can_ask)[:_SAMPLE])
        nearest = np.ones(len(self.answers))
        for begin in range(0, len(can_ask), BATCH_SIZE):
            rows = can_ask[begin : begin + BATCH_SIZE]
            similar = self.vectors[rows] @ self.vectors[sample].T
            similar[rows[:, None] == sample] = -1  # not itself
            nearest[rows] = similar.max(axis=1)
        return np.clip(_standard(self.unknown, can_ask) - _standard(nearest, can_ask), 0, None)

    def item(self, i: int, reason: str, part: str) -> QueueItem:
        """Answer number `i` as it stands in the queue."""
        a = self.answers[i]
        return QueueItem(a.text, a.question, a.score, self.results[i], reason, part, a.row)


def _score(
    model: Model, batch: Batch
) -> tuple[Probabilities, tuple[np.ndarray, ...], np.ndarray | None]:
    """Score as `Model.score` does, and keep what words and vectors say by themselves.

    Returns
    -------
    found : Probabilities
    views : tuple of ndarray of shape (n_texts, n_labels)
        By words, and with an encoder by vectors; not calibrated.
    vectors : ndarray of shape (n_texts, width) or None
    """
    matrices = model.features.transform(batch)
    views = [View.of(model.sparse, matrices.texts, matrices.clauses)]
    vectors = None
    if model.encoder is not None and model.dense is not None:
        encoded = model.encoder.encode(batch)
        views.append(View.of(model.dense, encoded.texts, encoded.clauses))
        vectors = encoded.texts
    view = views[0].mean(views[1]) if len(views) > 1 else views[0]
    raw = combine(view, model.space, batch.owner)
    found = Probabilities(
        texts=model.decisions[model.profile].calibration.apply(raw, model.space),
        clauses=view.clauses,
        sentiments=view.sentiments,
        known=matrices.known,
    )
    return found, tuple(combine(v, model.space, batch.owner) for v in views), vectors


def _doubts(found: Probabilities, thresholds: np.ndarray, space: LabelSpace) -> np.ndarray:
    """What the sentiment (first) and each category add to the expected errors."""
    wrong = np.where(found.texts >= thresholds, 1 - found.texts, found.texts)
    sentiment = 1 - found.sentiments.max(axis=1, keepdims=True)
    columns = wrong[:, space.slices["category"]]
    by_category = columns.reshape(len(columns), -1, len(POLARITIES)).sum(axis=2)
    return np.hstack([sentiment, by_category])


def _by_category(values: np.ndarray, space: LabelSpace) -> np.ndarray:
    """Largest value of each category's polarities, of shape (n_texts, n_categories)."""
    columns = values[:, space.slices["category"]]
    return columns.reshape(len(columns), -1, len(POLARITIES)).max(axis=2)


def _standard(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values in standard deviations from their mean over some rows."""
    spread = float(values[rows].std())
    return (values - values[rows].mean()) / (spread or 1.0)


# --- who gets a place ---------------------------------------------------------------------


class _Picker:
    """Gives places to answers; no answer, nor one that is nearly the same, gets two."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._taken: list[int] = []
        self._gone: set[int] = set()  # taken, or nearly the same

    def take(self, ranking: Sequence[int] | np.ndarray, n: int, *, diverse: bool) -> list[int]:
        """Take `n` answers of a ranking, or as many as it has.

        With `diverse`, those that look most like what was taken already give way.
        """
        taken: list[int] = []
        rest = [i for i in map(int, ranking) if i not in self._gone]
        while len(taken) < n and rest:
            left = n - len(taken)
            wanted = left + min(left * _SHORTLIST, _MOST_MORE) if diverse else max(left, _AT_ONCE)
            fresh = self._fresh(rest[:wanted])
            rest = rest[wanted:]
            if diverse and len(fresh) > left:
                fresh = self._diverse(fresh, left)
            taken += fresh[:left]
            self._taken += fresh[:left]
            self._gone.update(fresh[:left])
        return taken

    def _fresh(self, shortlist: list[int]) -> list[int]:
        """Those that are not nearly the same as one that was taken or comes earlier."""
        pool = [*self._taken, *shortlist]
        copies: set[int] = set()
        for a, b, similarity in near_duplicates([self._answers[i].text for i in pool]):
            same = similarity < 1 or self._same(pool[a], pool[b])
            if same and a not in copies and b >= len(self._taken):
                copies.add(b)
                if a < len(self._taken):
                    self._gone.add(pool[b])
        return [i for at, i in enumerate(pool) if at >= len(self._taken) and at not in copies]

    def _same(self, a: int, b: int) -> bool:
        """Whether equal texts are one: a few words say another thing under another question."""
        first, second = self._answers[a], self._answers[b]
        long = len(_WORDS.findall(first.text)) >= _MIN_WORDS
        return long or _folded(first.question or "") == _folded(second.question or "")

    def _diverse(self, candidates: list[int], n: int) -> list[int]:
        """Choose `n`, each time the one that is high in the ranking and unlike those chosen.

        Greedy max-min with the rank as weight, on TF-IDF of character 4-grams.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), dtype=np.float32)
        vectors = vectorizer.fit_transform([_folded(self._answers[i].text) for i in candidates])
        weight = np.linspace(1.0, 0.5, len(candidates))
        distance = np.ones(len(candidates))
        chosen: list[int] = []
        for _ in range(n):
            best = int((weight * distance).argmax())
            chosen.append(best)
            similar = (vectors @ vectors[best].T).toarray().ravel()
            distance = np.minimum(distance, np.clip(1 - similar, 1e-6, None))
            distance[best] = -1
        return [candidates[i] for i in sorted(chosen)]


def _shared(n: int, available: Mapping[str, int]) -> dict[str, int]:
    """Share places among strategies; those that have too few candidates leave theirs to others."""
    places = dict.fromkeys(available, 0)
    left = n
    while left:
        open_to = {name: s for name, s in _SHARES.items() if places[name] < available[name]}
        if not open_to:
            break
        total = sum(open_to.values())
        before = left
        for name, share in open_to.items():
            more = min(available[name] - places[name], left, math.ceil(before * share / total))
            places[name] += more
            left -= more
    return places


def _mixed(
    queues: Sequence[Sequence[tuple[int, str, str]]],
) -> Iterator[tuple[int, str, str]]:
    """Spread each queue evenly over the whole."""
    spread = (
        [((at + 0.5) / len(queue), number, entry) for at, entry in enumerate(queue)]
        for number, queue in enumerate(queues)
    )
    return (entry for _, _, entry in heapq.merge(*spread))
