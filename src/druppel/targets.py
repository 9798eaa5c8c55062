"""What the heads learn: labelled texts as indicator arrays of their texts and clauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from druppel.corpus import LabelledText
from druppel.features import Batch
from druppel.model import LabelSpace
from druppel.result import POLARITIES, SENTIMENTS
from druppel.segment import Segment, Segmenter

# A clause bears an aspect when at least this share of the clause lies in the evidence, or at
# least this share of the evidence in the clause.
_CLAUSE_SHARE = 0.5
_EVIDENCE_SHARE = 0.4

UNKNOWN_SENTIMENT = -1
"""In place of a sentiment's number, where nobody annotated it."""


@dataclass(frozen=True)
class LabelledRows:
    """Texts with the labels of the texts and of their clauses.

    Attributes
    ----------
    batch : Batch
    text_labels : ndarray of shape (n_texts, n_labels)
    clause_labels : ndarray of shape (n_clauses, n_aspect_labels)
    sentiments : ndarray of shape (n_texts,)
        Numbers in `SENTIMENTS`, or `UNKNOWN_SENTIMENT`.
    """

    batch: Batch
    text_labels: np.ndarray
    clause_labels: np.ndarray
    sentiments: np.ndarray

    @classmethod
    def of(
        cls, texts: Sequence[LabelledText], space: LabelSpace, segmenter: Segmenter
    ) -> LabelledRows:
        """Cut texts into clauses and lay out their labels."""
        batch = cut_texts(texts, segmenter)
        return cls(
            batch=batch,
            text_labels=text_labels(texts, space),
            clause_labels=clause_labels(texts, batch, space),
            sentiments=np.array(
                [SENTIMENTS.index(t.sentiment) if t.sentiment else UNKNOWN_SENTIMENT for t in texts]
            ),
        )

    @cached_property
    def first_clause(self) -> np.ndarray:
        """Number of each text's first clause, and behind the last text the number of all."""
        return np.concatenate([[0], np.cumsum([len(cut) for cut in self.batch.segments])])

    def clauses_of(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the clauses of some texts, in the order of the texts."""
        first = self.first_clause
        parts = [np.arange(first[i], first[i + 1]) for i in rows]
        return np.concatenate(parts) if parts else np.array([], dtype=int)

    def subset(self, rows: np.ndarray) -> LabelledRows:
        """Keep some of the texts."""
        batch = Batch(
            texts=[self.batch.texts[i] for i in rows],
            questions=[self.batch.questions[i] for i in rows],
            scores=[self.batch.scores[i] for i in rows],
            segments=[self.batch.segments[i] for i in rows],
        )
        clauses = self.clause_labels[self.clauses_of(rows)]
        return LabelledRows(batch, self.text_labels[rows], clauses, self.sentiments[rows])


def cut_texts(texts: Sequence[LabelledText], segmenter: Segmenter) -> Batch:
    """Cut labelled texts into clauses."""
    return Batch.cut(
        [t.text for t in texts],
        segmenter,
        [t.question for t in texts],
        [t.score for t in texts],
    )


def text_labels(texts: Sequence[LabelledText], space: LabelSpace) -> np.ndarray:
    """Indicator of shape (n_texts, n_labels)."""
    labels = np.zeros((len(texts), len(space.names)), dtype=np.int8)
    begin = space.slices["signal"].start
    for i, text in enumerate(texts):
        for aspect in text.aspects:
            labels[i, aspect_columns(aspect.leaf, aspect.polarity, space)] = 1
        for signal in text.signals:
            labels[i, begin + space.signals.index(signal)] = 1
    return labels


def clause_labels(texts: Sequence[LabelledText], batch: Batch, space: LabelSpace) -> np.ndarray:
    """Indicator of shape (n_clauses, n_aspect_labels), from the evidence of the aspects."""
    labels = np.zeros((len(batch.clauses), space.slices["signal"].start), dtype=np.int8)
    row = 0
    for text, cut in zip(texts, batch.segments, strict=True):
        for aspect in text.aspects:
            start, end = 0, len(text.text)
            if aspect.evidence is not None:
                start = text.text.index(aspect.evidence)
                end = start + len(aspect.evidence)
            columns = aspect_columns(aspect.leaf, aspect.polarity, space)
            for offset, segment in enumerate(cut):
                if bears(segment, start, end):
                    labels[row + offset, columns] = 1
        row += len(cut)
    return labels


def bears(segment: Segment, start: int, end: int) -> bool:
    """Whether evidence at ``[start, end)`` of a text makes its clause `segment` bear the aspect."""
    shared = min(end, segment.end) - max(start, segment.start)
    return shared > 0 and (
        shared >= _CLAUSE_SHARE * (segment.end - segment.start)
        or shared >= _EVIDENCE_SHARE * (end - start)
    )


def aspect_columns(leaf: str, polarity: str, space: LabelSpace) -> list[int]:
    """Columns that an aspect sets: its leaf's and its category's."""
    number, p = space.leaves.index(leaf), POLARITIES.index(polarity)
    return [space.leaf(number, p), space.category(space.category_of_leaf[number], p)]
