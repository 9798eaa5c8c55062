"""From texts to results: the one path by which anything is labelled."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from druppel.errors import InputError
from druppel.features import Batch
from druppel.language import detect_language
from druppel.model import BALANCED, MODES, Model, Probabilities, expected_errors
from druppel.registry import resolve_model
from druppel.result import DUTCH, POLARITIES, SENTIMENTS, Aspect, Result, Sentiment, Signal
from druppel.segment import Segment, Segmenter
from druppel.store import load_model
from druppel.tables import parse_score

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 256
_LOWEST, _HIGHEST = 0, 10  # of a customer's grade
_NEGATIVE, _POSITIVE, _NEUTRAL = range(len(POLARITIES))
# A leaf this far below its threshold is not named; its category then stands alone.
_LEAF_SLACK = 0.5
# Where a model knows fewer of a text's words than this share, a person should look.
_MIN_KNOWN = 0.5


@dataclass(frozen=True)
class Explanation:
    """Why a text got its labels.

    Attributes
    ----------
    result : Result
    segments : tuple of Segment
    candidates : tuple of Candidate
        The likeliest labels, whether given or not, most likely first.
    sentiments : dict of str to float
        Probability of each sentiment.
    """

    result: Result
    segments: tuple[Segment, ...]
    candidates: tuple[Candidate, ...]
    sentiments: dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """A label that was considered.

    Attributes
    ----------
    label : str
        Such as ``leaf:keuzemenu:neg``.
    probability, threshold : float
    segment : int
        Number of the clause that speaks most for it.
    terms : tuple of (str, float)
        What counted in that clause, with the weight for (or, negative, against) it.
    encoder : float or None
        Probability that the encoder alone gives that clause; None without encoder.
    """

    label: str
    probability: float
    threshold: float
    segment: int
    terms: tuple[tuple[str, float], ...]
    encoder: float | None


def default_model_folder() -> Path:
    """Folder of the model that ships with Druppel: in the package, or in a source checkout."""
    packaged = Path(__file__).parent / "resources" / "model"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[2] / "models" / "druppel-nl"


class Labeler:
    """Label Dutch feedback with a trained model.

    Parameters
    ----------
    model : Model
    mode : {"ruim", "gebalanceerd", "streng"}, default="gebalanceerd"
        Label generously (nine in ten irritations found), by the best F1, or only what is sure
        (nine in ten labels right).

    Raises
    ------
    InputError
        If there is no such mode.

    Examples
    --------
    >>> labeler = Labeler.load()
    >>> result = labeler.label("Ik hing veertig minuten in de wacht.")
    >>> "telefonie" in result.irritations
    True
    """

    def __init__(self, model: Model, mode: str = BALANCED) -> None:
        _check_mode(mode)
        self.model = model
        self.mode = mode
        self._thresholds = model.thresholds(mode)
        # Doubt is about the text, not about where the user draws the line.
        self._usual_thresholds = model.thresholds()
        self._doubt = model.decisions[model.profile].doubt
        self._space = model.space
        self._segmenter = Segmenter()
        # Of each category: its slug, the columns of its polarities, and its leaves.
        self._categories = [
            (
                category,
                [self._space.category(c, p) for p in range(len(POLARITIES))],
                [i for i, owner in enumerate(self._space.category_of_leaf) if owner == c],
            )
            for c, category in enumerate(self._space.categories)
        ]

    @classmethod
    def load(
        cls, path: str | Path | None = None, *, profile: str | None = None, mode: str = BALANCED
    ) -> Labeler:
        """Load a model; without `path`, the one that ships with Druppel.

        Parameters
        ----------
        path : str or Path, optional
            A model folder; or a project folder or registry, of which the current version is meant.
        profile : {"nauwkeurig", "snel"}, optional
            With the encoder, or with words and characters only, which is many times faster.
            By default ``nauwkeurig`` where the model has an encoder.
        mode : {"ruim", "gebalanceerd", "streng"}, default="gebalanceerd"

        Raises
        ------
        ModelError
            If the folder holds no model, or a damaged one, or has no such profile.
        InputError
            If there is no such profile or mode.
        """
        _check_mode(mode)  # at once, rather than after two seconds
        folder = resolve_model(path) if path is not None else default_model_folder()
        return cls(load_model(folder, profile), mode)

    def label(self, text: str, question: str | None = None, score: float | None = None) -> Result:
        """Label one text.

        Parameters
        ----------
        text : str
            Any string, however odd; an empty one gets empty labels.
        question : str, optional
            The question that the text answers.
        score : float, optional
            The grade from 0 to 10 that the customer gave; another number counts as unknown.
        """
        return self._label_batch([text], [question], [score])[0]

    def label_many(
        self,
        texts: Iterable[str],
        questions: Iterable[str | None] | None = None,
        scores: Iterable[float | None] | None = None,
    ) -> Iterator[Result]:
        """Label texts as they come, in order, in bounded memory.

        Parameters
        ----------
        texts : iterable of str
        questions : iterable of str or None, optional
            As many as there are texts.
        scores : iterable of float or None, optional
            As many as there are texts.

        Raises
        ------
        ValueError
            If there are fewer or more questions or scores than texts; it comes when the shorter
            one runs out, and the last batch is then not labelled.
        """
        given = [values for values in (texts, questions, scores) if values is not None]
        rows = zip(*given, strict=True)
        while chunk := list(itertools.islice(rows, BATCH_SIZE)):
            columns = [list(column) for column in zip(*chunk, strict=True)]
            unknown = [None] * len(chunk)
            yield from self._label_batch(
                columns.pop(0),
                columns.pop(0) if questions is not None else unknown,
                columns.pop(0) if scores is not None else unknown,
            )

    def label_frame(
        self,
        frame: pd.DataFrame,
        *,
        text: str,
        question: str | None = None,
        score: str | None = None,
    ) -> pd.DataFrame:
        """Return a copy of a frame with the columns of the table formats added.

        Parameters
        ----------
        frame : DataFrame
        text : str
            Name of the column that holds the feedback; cells that are not text get no labels.
        question : str, optional
            Name of the column that holds the question.
        score : str, optional
            Name of the column that holds the customer's grade from 0 to 10.

        Raises
        ------
        InputError
            If a column does not exist.
        """
        import pandas as pd

        from druppel.output import keep_input_columns, table_columns, to_row

        for column in filter(None, (text, question, score)):
            if column not in frame.columns:
                listed = ", ".join(map(str, frame.columns))
                msg = f"No column {column!r}. The columns are: {listed}."
                raise InputError(msg)
        texts = [value if isinstance(value, str) else "" for value in frame[text]]
        questions = None
        if question is not None:
            questions = [value if isinstance(value, str) else None for value in frame[question]]
        scores = None
        if score is not None:
            scores = [parse_score(value, _HIGHEST) for value in frame[score]]
        taxonomy = self.model.taxonomy
        labelled = self.label_many(texts, questions, scores)
        added = pd.DataFrame(
            [to_row(result, taxonomy) for result in labelled],
            index=frame.index,
            columns=table_columns(taxonomy),
        )
        kept = keep_input_columns([str(c) for c in frame.columns], table_columns(taxonomy))
        return pd.concat([frame.set_axis(kept, axis=1), added], axis=1)

    def explain(
        self,
        text: str,
        question: str | None = None,
        score: float | None = None,
        *,
        limit: int = 8,
    ) -> Explanation:
        """Say why a text gets its labels.

        Parameters
        ----------
        text : str
        question : str, optional
        score : float, optional
        limit : int, default=8
            Number of likeliest labels, and of terms for each.
        """
        batch = self.cut([text], [question], [score])
        found = self.model.score(batch)
        result = self.results(batch, found)[0]
        if not batch.clauses:
            return Explanation(result, (), (), {})
        clauses = self.model.features.transform(batch).clauses
        weights_of = self.model.sparse.labels.coef_
        terms = self.model.features.get_feature_names_out()
        by_encoder = self._by_encoder(batch)
        names = self._space.names
        probability, thresholds = found.texts[0], self._thresholds
        candidates = []
        for column in np.argsort(-probability / thresholds, kind="stable")[:limit]:
            best = int(found.clauses[:, column].argmax())
            row = clauses[best]
            weights = row.data * weights_of[column, row.indices]
            order = np.argsort(-np.abs(weights), kind="stable")[:limit]
            candidates.append(
                Candidate(
                    label=names[column],
                    probability=round(float(probability[column]), 4),
                    threshold=round(float(thresholds[column]), 4),
                    segment=best,
                    terms=tuple(
                        (str(terms[row.indices[i]]), round(float(weights[i]), 3)) for i in order
                    ),
                    encoder=None
                    if by_encoder is None
                    else round(float(by_encoder[best, column]), 4),
                )
            )
        return Explanation(
            result=result,
            segments=batch.segments[0],
            candidates=tuple(candidates),
            sentiments={
                s: round(float(p), 4) for s, p in zip(SENTIMENTS, found.sentiments[0], strict=True)
            },
        )

    def _by_encoder(self, batch: Batch) -> np.ndarray | None:
        """Probabilities of the clauses by the encoder alone."""
        if self.model.encoder is None or self.model.dense is None:
            return None
        vectors = self.model.encoder.encode(batch)
        return np.asarray(self.model.dense.labels.predict_proba(vectors.clauses))

    def _label_batch(
        self,
        texts: list[str],
        questions: Sequence[str | None],
        scores: Sequence[float | None],
    ) -> list[Result]:
        batch = self.cut(texts, questions, scores)
        return self.results(batch, self.model.score(batch))

    def cut(
        self,
        texts: Sequence[str],
        questions: Sequence[str | None],
        scores: Sequence[float | None],
    ) -> Batch:
        """Cut texts into clauses, ready for the model to score.

        Parameters
        ----------
        texts : sequence of str
        questions : sequence of str or None
        scores : sequence of float or None
            A number that is no grade from 0 to 10 counts as unknown.
        """
        known = [_valid_score(score) for score in scores]
        return Batch.cut(texts, self._segmenter, questions, known)

    def results(self, batch: Batch, found: Probabilities) -> list[Result]:
        """Return the results of a batch that the model has scored.

        Parameters
        ----------
        batch : Batch
        found : Probabilities
            What `Model.score` gave for it.
        """
        first = np.concatenate([[0], np.cumsum([len(cut) for cut in batch.segments])])
        doubts = expected_errors(found.texts, self._usual_thresholds, found.sentiments, self._space)
        return [
            self._decide(
                text,
                batch.segments[i],
                found.texts[i],
                found.clauses[first[i] : first[i + 1]],
                found.sentiments[i],
                known=float(found.known[i]),
                doubt=float(doubts[i]),
            )
            for i, text in enumerate(batch.texts)
        ]

    def _decide(
        self,
        text: str,
        segments: tuple[Segment, ...],
        probability: np.ndarray,
        clauses: np.ndarray,
        sentiment: np.ndarray,
        *,
        known: float,
        doubt: float,
    ) -> Result:
        """Turn one text's probabilities into its result."""
        language = detect_language(text, known)
        if language != DUTCH:
            foreign = language is not None
            return Result(None, (), (), language, foreign, self.model.title)
        aspects = self._aspects(segments, probability, clauses)
        signals = self._signals(segments, probability, clauses)
        best = int(sentiment.argmax())
        score = float(
            sentiment[SENTIMENTS.index("positief")] - sentiment[SENTIMENTS.index("negatief")]
        )
        return Result(
            sentiment=Sentiment(SENTIMENTS[best], round(score, 4)),
            aspects=tuple(aspects),
            signals=tuple(signals),
            language=language,
            review=known < _MIN_KNOWN or doubt >= self._doubt,
            model=self.model.title,
        )

    def _aspects(
        self, segments: tuple[Segment, ...], probability: np.ndarray, clauses: np.ndarray
    ) -> list[Aspect]:
        space, thresholds = self._space, self._thresholds
        reached = probability >= thresholds
        found: list[tuple[int, Aspect]] = []
        for category, columns, leaves in self._categories:
            if not reached[columns].any():
                continue
            given: set[tuple[int, int]] = set()  # (leaf, clause) already praised or blamed
            for polarity in sorted(range(len(POLARITIES)), key=lambda p: -probability[columns[p]]):
                if not reached[columns[polarity]]:
                    continue
                if polarity == _NEUTRAL and given:
                    continue  # what is praised or blamed is not a neutral mention as well
                for leaf in self._leaves(leaves, polarity, probability):
                    column = columns[polarity] if leaf is None else space.leaf(leaf, polarity)
                    clause = int(clauses[:, column].argmax())
                    key = (-1 if leaf is None else leaf, clause)
                    if key in given:
                        continue  # one clause does not say two opposite things of one leaf
                    given.add(key)
                    segment = segments[clause]
                    aspect = Aspect(
                        category=category,
                        leaf=None if leaf is None else space.leaves[leaf],
                        polarity=POLARITIES[polarity],
                        probability=round(float(probability[column]), 4),
                        start=segment.start,
                        end=segment.end,
                        evidence=segment.text,
                    )
                    found.append((segment.start, aspect))
        return [aspect for _, aspect in sorted(found, key=lambda item: item[0])]

    def _leaves(
        self, leaves: list[int], polarity: int, probability: np.ndarray
    ) -> list[int | None]:
        """Leaves to name under a given category: the sure ones, else the best, else none."""
        if len(leaves) == 1:
            return [leaves[0]]
        columns = [self._space.leaf(leaf, polarity) for leaf in leaves]
        margin = probability[columns] - self._thresholds[columns]
        sure: list[int | None] = [leaf for leaf, m in zip(leaves, margin, strict=True) if m >= 0]
        if sure:
            return sure
        best = int(margin.argmax())
        column = columns[best]
        if probability[column] >= _LEAF_SLACK * self._thresholds[column]:
            return [leaves[best]]
        return [None]

    def _signals(
        self, segments: tuple[Segment, ...], probability: np.ndarray, clauses: np.ndarray
    ) -> list[Signal]:
        begin = self._space.slices["signal"].start
        signals = []
        for column, name in enumerate(self._space.signals, start=begin):
            if probability[column] >= self._thresholds[column]:
                segment = segments[int(clauses[:, column].argmax())]
                signals.append(
                    Signal(
                        name,
                        round(float(probability[column]), 4),
                        segment.start,
                        segment.end,
                        segment.text,
                    )
                )
        return signals


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        msg = f"'mode' must be one of {', '.join(MODES)}, got {mode!r}."
        raise InputError(msg)


def _valid_score(score: float | None) -> float | None:
    """Return a grade that lies on the scale; anything else counts as unknown."""
    return score if score is not None and _LOWEST <= score <= _HIGHEST else None
