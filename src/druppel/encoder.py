"""Texts and their clauses as dense vectors, each clause read in the context of its text.

The network (a fine-tuned multilingual-e5-small) and its vocabulary are data in the model
folder; ONNX Runtime and SentencePiece run them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import cpu_count

from druppel.features import Batch

# ONNX Runtime reports its use to its maker unless told not to before it is first imported.
# Druppel sends nothing anywhere.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The prefix that the network was trained with; E5 tells queries from passages by it.
PREFIX = "query:"
BEGIN, END = 0, 2
MAX_PIECES = 158
MAX_CONTEXT = 40
_CONTEXT_SEPARATOR = " | "


@dataclass(frozen=True)
class Vectors:
    """Vectors of a batch, of unit length; zeros for a clause of control characters only.

    Attributes
    ----------
    texts : ndarray of shape (n_texts, width)
    clauses : ndarray of shape (n_clauses, width)
    """

    texts: np.ndarray
    clauses: np.ndarray


class Encoder:
    """Turn texts into vectors.

    A text's vectors depend on that text and its question and score only: every text is a run
    of its own, so neither its neighbours nor the number of threads change a bit of it.

    Parameters
    ----------
    network : bytes
        An ONNX model from piece numbers of shape (1, n_pieces) to vectors of shape
        (n_pieces, width).
    pieces : bytes
        A SentencePiece model.
    seen : iterable of str, optional
        Fingerprints of the texts that the network was fine-tuned on.
    n_threads : int, optional
        Texts encoded at once; by default as many as there are cores.

    Raises
    ------
    ValueError
        If either is damaged.
    """

    def __init__(
        self,
        network: bytes,
        pieces: bytes,
        seen: Iterable[str] = (),
        *,
        n_threads: int | None = None,
    ) -> None:
        import onnxruntime
        import sentencepiece

        # For a program that imported it before Druppel.
        onnxruntime.disable_telemetry_events()
        self.network = network
        self.pieces = pieces
        self.seen = frozenset(seen)
        self.n_threads = n_threads or cpu_count()
        options = onnxruntime.SessionOptions()
        # One thread a run: texts side by side use the cores better than one text's rows do,
        # and a session without threads of its own survives a fork.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._vocabulary = sentencepiece.SentencePieceProcessor(model_proto=pieces)
            self._session = onnxruntime.InferenceSession(
                network, options, providers=["CPUExecutionProvider"]
            )
            self._input = self._session.get_inputs()[0].name
            self._prefix = [BEGIN, *self._cut(PREFIX)]
            self.width = self._run(self._prefix).shape[1]
        except Exception as error:  # both libraries raise types of their own
            msg = f"no encoder ({type(error).__name__})"
            raise ValueError(msg) from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts; a running session cannot be."""
        return _rebuild, (self.network, self.pieces, self.seen, self.n_threads)

    def encode(self, batch: Batch) -> Vectors:
        """Return the vectors of a batch of texts and of their clauses."""
        jobs = [
            ([segment.text for segment in cut], question, score)
            for cut, question, score in zip(
                batch.segments, batch.questions, batch.scores, strict=True
            )
        ]
        if len(jobs) > 1 and self.n_threads > 1:
            with ThreadPoolExecutor(self.n_threads) as pool:
                encoded = list(pool.map(self._encode_text, *zip(*jobs, strict=True)))
        else:
            encoded = [self._encode_text(*job) for job in jobs]
        empty = np.zeros((0, self.width), dtype=np.float32)
        return Vectors(
            texts=np.vstack([empty, *(text for text, _ in encoded)]),
            clauses=np.vstack([empty, *(clauses for _, clauses in encoded)]),
        )

    def _encode_text(
        self, clauses: Sequence[str], question: str | None, score: float | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the vector of a text, of shape (1, width), and those of its clauses.

        A text beyond what the network takes is read in windows of that size.
        """
        cut = [self._cut(clause) for clause in clauses]
        owner = np.repeat(np.arange(len(cut)), [len(pieces) for pieces in cut])
        pieces = [piece for part in cut for piece in part]
        before = self._before(question, score)
        total = np.zeros(self.width)
        by_clause = np.zeros((len(cut), self.width))
        for start in range(0, max(len(pieces), 1), MAX_PIECES):
            window = pieces[start : start + MAX_PIECES]
            vectors = self._run([*before, *window, END])
            total += vectors.sum(axis=0)
            inside = vectors[len(before) : len(before) + len(window)]
            np.add.at(by_clause, owner[start : start + MAX_PIECES], inside)
        return _unit(total[None]), _unit(by_clause)

    def _before(self, question: str | None, score: float | None) -> list[int]:
        """Pieces that precede the text: the prefix and, where known, question and score."""
        context = context_pieces(self._cut, question, score)
        return [*self._prefix, *context, END] if context else self._prefix

    def _cut(self, text: str) -> list[int]:
        """Numbers of the pieces of a text."""
        clean = text.encode("utf-8", "replace").decode() if not text.isascii() else text
        return list(self._vocabulary.encode(clean.replace("\x00", " ")))

    def _run(self, pieces: list[int]) -> np.ndarray:
        return self._session.run(None, {self._input: np.array([pieces], dtype=np.int64)})[0]


def context_pieces(
    cut: Callable[[str], list[int]], question: str | None, score: float | None
) -> list[int]:
    """Pieces of what the network reads before a text: its question and score, where known.

    Parameters
    ----------
    cut : callable
        From words to the numbers of their pieces.
    question : str or None
        One that is too long loses its end, so that the score stays.
    score : float or None

    Examples
    --------
    >>> context_pieces(lambda text: [len(word) for word in text.split()], "Wat kan er beter?", 3)
    [3, 3, 2, 6, 1, 6, 1]
    """
    grade = "" if score is None else f"cijfer {score:g}"
    if not question:
        return cut(grade) if grade else []
    rest = cut(_CONTEXT_SEPARATOR + grade) if grade else []
    return [*cut(question)[: MAX_CONTEXT - len(rest)], *rest]


def _rebuild(network: bytes, pieces: bytes, seen: frozenset[str], n_threads: int) -> Encoder:
    return Encoder(network, pieces, seen, n_threads=n_threads)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to unit length; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
