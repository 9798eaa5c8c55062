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
from druppel.model import Model
from druppel.result import DUTCH, POLARITIES, SENTIMENTS, Aspect, Result, Sentiment, Signal
from druppel.segment import Segment, Segmenter
from druppel.store import load_model

if TYPE_CHECKING:
    import pandas as pd

BATCH_SIZE = 256
_NEGATIVE, _POSITIVE, _NEUTRAL = range(len(POLARITIES))
# A leaf this far below its threshold is not named; its category then stands alone.
_LEAF_SLACK = 0.5
# Where the likeliest sentiment is below this, or a label within the margin of its threshold,
# or so few words are known, a person should look.
_UNSURE_SENTIMENT = 0.5
_REVIEW_MARGIN = 0.01
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
    """

    label: str
    probability: float
    threshold: float
    segment: int
    terms: tuple[tuple[str, float], ...]


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

    Examples
    --------
    >>> labeler = Labeler.load()
    >>> result = labeler.label("Ik hing veertig minuten in de wacht.")
    >>> "telefonie" in result.irritations
    True
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._space = model.space
        self._segmenter = Segmenter()

    @classmethod
    def load(cls, path: str | Path | None = None) -> Labeler:
        """Load a model folder; without `path`, the model that ships with Druppel.

        Raises
        ------
        ModelError
            If the folder holds no model, or a damaged one.
        """
        return cls(load_model(path if path is not None else default_model_folder()))

    def label(self, text: str, question: str | None = None) -> Result:
        """Label one text.

        Parameters
        ----------
        text : str
            Any string, however odd; an empty one gets empty labels.
        question : str, optional
            The question that the text answers.
        """
        return self._label_batch([text], [question])[0]

    def label_many(
        self, texts: Iterable[str], questions: Iterable[str | None] | None = None
    ) -> Iterator[Result]:
        """Label texts as they come, in order, in bounded memory."""
        asked = itertools.repeat(None) if questions is None else questions
        pairs = zip(texts, asked, strict=questions is not None)
        while chunk := list(itertools.islice(pairs, BATCH_SIZE)):
            yield from self._label_batch([t for t, _ in chunk], [q for _, q in chunk])

    def label_frame(
        self, frame: pd.DataFrame, *, text: str, question: str | None = None
    ) -> pd.DataFrame:
        """Return a copy of a frame with the columns of the table formats added.

        Parameters
        ----------
        frame : DataFrame
        text : str
            Name of the column that holds the feedback; cells that are not text get no labels.
        question : str, optional
            Name of the column that holds the question.

        Raises
        ------
        InputError
            If a column does not exist.
        """
        import pandas as pd

        from druppel.output import keep_input_columns, table_columns, to_row

        for column in filter(None, (text, question)):
            if column not in frame.columns:
                listed = ", ".join(map(str, frame.columns))
                msg = f"No column {column!r}. The columns are: {listed}."
                raise InputError(msg)
        texts = [value if isinstance(value, str) else "" for value in frame[text]]
        questions = None
        if question is not None:
            questions = [value if isinstance(value, str) else None for value in frame[question]]
        taxonomy = self.model.taxonomy
        added = pd.DataFrame(
            [to_row(result, taxonomy) for result in self.label_many(texts, questions)],
            index=frame.index,
            columns=table_columns(taxonomy),
        )
        kept = keep_input_columns([str(c) for c in frame.columns], table_columns(taxonomy))
        return pd.concat([frame.set_axis(kept, axis=1), added], axis=1)

    def explain(self, text: str, question: str | None = None, *, limit: int = 8) -> Explanation:
        """Say why a text gets its labels.

        Parameters
        ----------
        text : str
        question : str, optional
        limit : int, default=8
            Number of likeliest labels, and of terms for each.
        """
        batch = Batch.cut([text], self._segmenter, [question])
        result = self._label_batch([text], [question])[0]
        if not batch.clauses:
            return Explanation(result, (), (), {})
        scores = self.model.score(batch)
        clauses = self.model.features.transform(batch).clauses
        terms = self.model.features.get_feature_names_out()
        names = self._space.names
        probability, thresholds = scores.texts[0], self.model.thresholds
        candidates = []
        for column in np.argsort(-probability / thresholds, kind="stable")[:limit]:
            best = int(scores.clauses[:, column].argmax())
            row = clauses[best]
            weights = row.data * self.model.labels.coef_[column, row.indices]
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
                )
            )
        return Explanation(
            result=result,
            segments=batch.segments[0],
            candidates=tuple(candidates),
            sentiments={
                s: round(float(p), 4) for s, p in zip(SENTIMENTS, scores.sentiments[0], strict=True)
            },
        )

    def _label_batch(self, texts: list[str], questions: Sequence[str | None]) -> list[Result]:
        batch = Batch.cut(texts, self._segmenter, questions)
        scores = self.model.score(batch)
        first = np.concatenate([[0], np.cumsum([len(cut) for cut in batch.segments])])
        return [
            self._decide(
                text,
                batch.segments[i],
                scores.texts[i],
                scores.clauses[first[i] : first[i + 1]],
                scores.sentiments[i],
                float(scores.known[i]),
            )
            for i, text in enumerate(texts)
        ]

    def _decide(
        self,
        text: str,
        segments: tuple[Segment, ...],
        probability: np.ndarray,
        clauses: np.ndarray,
        sentiment: np.ndarray,
        known: float,
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
            review=bool(
                sentiment[best] < _UNSURE_SENTIMENT
                or known < _MIN_KNOWN
                or self._is_near_threshold(probability)
            ),
            model=self.model.title,
        )

    def _is_near_threshold(self, probability: np.ndarray) -> bool:
        """Whether a category was only just given, or only just not."""
        columns = self._space.slices["category"]
        distance = probability[columns] - self.model.thresholds[columns]
        return bool((np.abs(distance) < _REVIEW_MARGIN).any())

    def _aspects(
        self, segments: tuple[Segment, ...], probability: np.ndarray, clauses: np.ndarray
    ) -> list[Aspect]:
        space, thresholds = self._space, self.model.thresholds
        found: list[tuple[int, Aspect]] = []
        for c, category in enumerate(space.categories):
            leaves = [i for i, owner in enumerate(space.category_of_leaf) if owner == c]
            given: set[tuple[int, int]] = set()  # (leaf, clause) already praised or blamed
            columns = [space.category(c, p) for p in range(len(POLARITIES))]
            for polarity in sorted(range(len(POLARITIES)), key=lambda p: -probability[columns[p]]):
                if probability[columns[polarity]] < thresholds[columns[polarity]]:
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
        margin = probability[columns] - self.model.thresholds[columns]
        sure: list[int | None] = [leaf for leaf, m in zip(leaves, margin, strict=True) if m >= 0]
        if sure:
            return sure
        best = int(margin.argmax())
        column = columns[best]
        if probability[column] >= _LEAF_SLACK * self.model.thresholds[column]:
            return [leaves[best]]
        return [None]

    def _signals(
        self, segments: tuple[Segment, ...], probability: np.ndarray, clauses: np.ndarray
    ) -> list[Signal]:
        begin = self._space.slices["signal"].start
        signals = []
        for column, name in enumerate(self._space.signals, start=begin):
            if probability[column] >= self.model.thresholds[column]:
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
