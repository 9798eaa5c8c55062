"""Clauses and texts to sparse feature matrices: words, characters, the question and the score.

Only clauses are counted; a text's counts are the sum of its clauses', so that both views of a
text cost one pass over its characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from druppel.segment import Segment, Segmenter

_URL = re.compile(r"(?:https?://|www\.)\S+")
_MAIL = re.compile(r"\S+@\S+\.\S+")
_MENTION = re.compile(r"@\w+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_STRETCHED = re.compile(r"([^\d])\1{2,}")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[!?]+|\.{2,}|[^\w\s.,;:()\"'/-]")
_SHORT_ANSWER = 5
# Of the Dutch grades from 0 to 10, those below a pass and those that count as good.
_PASS, _HIGH = 5.5, 7.5
# Faults win over praise: "minder goed", "niet tevreden".
_ASKS_FOR_FAULTS = re.compile(
    r"\b(beter|betere|verbeter\w*|minder|ontevreden|niet tevreden|niet goed|veranderen|anders|"
    r"mis|mist|gemist|missen|fout|slecht\w*|erger\w*|irriteer\w*|tips?|jammer|tegen\w*|storen?|"
    r"suggesties?)\b"
)
_ASKS_FOR_PRAISE = re.compile(
    r"\b(goed|goede|prettig\w*|tevreden|fijn|fijne|sterk\w*|best|beste|bevalt|bevallen|beviel|"
    r"waardeer\w*|leuk\w*|positie\w*|mooi\w*|lof|compliment\w*)\b"
)


def normalise(text: str) -> str:
    """Fold what does not change the meaning: case, accents, digits, links, stretched letters.

    Examples
    --------
    >>> normalise("HEEEEL lang: 40 min.  één keer, zie https://x.nl")
    'heel lang: 00 min. een keer, zie urllink'
    """
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("…", "..."))
    if not text.isascii():
        text = "".join(ch for ch in text if not unicodedata.combining(ch))
    text = _URL.sub("urllink", text)
    text = _MAIL.sub("mailadres", text)
    text = _MENTION.sub("@", text)
    # The length of a number stays: "2 weken" and "200 euro" mean different things.
    text = _NUMBER.sub(lambda m: "0" * min(sum(c.isdigit() for c in m[0]), 4), text)
    text = _STRETCHED.sub(r"\1\1", text)
    return _SPACE.sub(" ", text).strip()


def tokenise(text: str) -> list[str]:
    """Words of a normalised text, with exclamation marks and emoji as words of their own.

    Examples
    --------
    >>> tokenise("zo'n slechte service!! 😡")
    ["zo'n", 'slechte', 'service', '!!', '😡']
    """
    return [
        word if len(word) < 3 or word[0] not in "!?" else word[:2] for word in _WORD.findall(text)
    ]


def question_kind(question: str) -> str:
    """Tell what a survey question asks for: ``verbeter`` (what is wrong), ``lof`` or ``open``.

    Examples
    --------
    >>> question_kind("Wat kan er beter?"), question_kind("Wat ging er goed?")
    ('verbeter', 'lof')
    >>> question_kind("Heeft u nog opmerkingen?")
    'open'
    """
    asked = normalise(question)
    if _ASKS_FOR_FAULTS.search(asked):
        return "verbeter"
    # "Hoe tevreden bent u?" leaves the answer open.
    praise = _ASKS_FOR_PRAISE.search(asked) and not asked.startswith("hoe ")
    return "lof" if praise else "open"


def question_tokens(question: str, answer: str) -> list[str]:
    """Tokens for what is asked, and for a short answer its words under that kind of question.

    "Niets" says the opposite after "Wat ging er goed?" and after "Wat kan er beter?".

    Examples
    --------
    >>> question_tokens("Wat kan beter?", "Niets")
    ['verbeter>niets', 'verbeter>=niets']
    >>> question_tokens("Wat kan beter?", "De wachttijd was de laatste maanden erg lang")
    ['verbeter']
    """
    kind = question_kind(question)
    said = tokenise(normalise(answer))
    if not 0 < len(said) <= _SHORT_ANSWER:
        return [kind]
    return [*(f"{kind}>{word}" for word in said), f"{kind}>={' '.join(said)}"]


def score_tokens(score: float) -> list[str]:
    """Token for a customer's grade from 0 to 10.

    Examples
    --------
    >>> score_tokens(3), score_tokens(7.0), score_tokens(9.5)
    (['cijfer=laag'], ['cijfer=midden'], ['cijfer=hoog'])
    """
    if score < _PASS:
        return ["cijfer=laag"]
    return ["cijfer=hoog" if score >= _HIGH else "cijfer=midden"]


def _identity(tokens: list[str]) -> list[str]:
    return tokens


@dataclass(frozen=True)
class Batch:
    """Texts cut into clauses, ready for feature extraction.

    Attributes
    ----------
    texts : list of str
    questions : list of str or None
        The question each text answers, where known.
    scores : list of float or None
        The grade from 0 to 10 that the customer gave, where known.
    segments : list of tuple of Segment
        The clauses of each text.
    """

    texts: list[str]
    questions: list[str | None]
    scores: list[float | None]
    segments: list[tuple[Segment, ...]]

    @classmethod
    def cut(
        cls,
        texts: Sequence[str],
        segmenter: Segmenter,
        questions: Sequence[str | None] | None = None,
        scores: Sequence[float | None] | None = None,
    ) -> Batch:
        """Cut `texts` into clauses."""
        unknown: list[None] = [None] * len(texts)
        asked = [question.strip() if question else None for question in questions or unknown]
        return cls(
            texts=list(texts),
            questions=[question or None for question in asked],
            scores=list(unknown if scores is None else scores),
            segments=[segmenter.split(text) for text in texts],
        )

    @cached_property
    def clauses(self) -> list[str]:
        """Clauses of all texts, text by text."""
        return [segment.text for cut in self.segments for segment in cut]

    @cached_property
    def owner(self) -> np.ndarray:
        """Row of the text that each clause belongs to, of shape (n_clauses,)."""
        return np.repeat(np.arange(len(self.texts)), [len(cut) for cut in self.segments])


@dataclass(frozen=True)
class FeatureMatrices:
    """Features of a batch.

    Attributes
    ----------
    texts : csr_matrix of shape (n_texts, n_features)
    clauses : csr_matrix of shape (n_clauses, n_features)
    known : ndarray of shape (n_texts,)
        Share of each text's words that stood in the training texts; 1 where it has none.
    """

    texts: sp.csr_matrix
    clauses: sp.csr_matrix
    known: np.ndarray


class TextFeatures(BaseEstimator):
    """TF-IDF of words and characters for texts and their clauses, plus question and score.

    Parameters
    ----------
    word_ngrams : tuple of (int, int), default=(1, 2)
    char_ngrams : tuple of (int, int), default=(2, 5)
        Character n-grams within word boundaries.
    min_texts : int, default=2
        Terms in fewer clauses are dropped.
    max_words, max_chars : int, default=40000
        The most frequent terms kept of each kind.

    Attributes
    ----------
    words_, chars_, context_ : CountVectorizer
    word_idf_, char_idf_ : TfidfTransformer
    """

    def __init__(
        self,
        *,
        word_ngrams: tuple[int, int] = (1, 2),
        char_ngrams: tuple[int, int] = (2, 5),
        min_texts: int = 2,
        max_words: int = 40_000,
        max_chars: int = 40_000,
    ) -> None:
        self.word_ngrams = word_ngrams
        self.char_ngrams = char_ngrams
        self.min_texts = min_texts
        self.max_words = max_words
        self.max_chars = max_chars

    def fit(self, batch: Batch, y: Any = None) -> TextFeatures:
        """Learn the vocabulary and the inverse text frequencies."""
        del y
        normal = [normalise(clause) for clause in batch.clauses]
        self._make_counters(min_df=self.min_texts)
        words = _per_text(self.words_.fit_transform(map(tokenise, normal)), batch)
        chars = _per_text(self.chars_.fit_transform(normal), batch)
        context = _context(batch)
        if any(context):
            self.context_.fit(context)
        self.word_idf_ = TfidfTransformer(sublinear_tf=True).fit(words)
        self.char_idf_ = TfidfTransformer(sublinear_tf=True).fit(chars)
        return self

    def transform(self, batch: Batch) -> FeatureMatrices:
        """Return the features of the texts and of their clauses."""
        if not hasattr(self, "word_idf_"):
            msg = "This TextFeatures is not fitted. Call fit first."
            raise NotFittedError(msg)
        normal = [normalise(clause) for clause in batch.clauses]
        tokens = [tokenise(clause) for clause in normal]
        words = self.words_.transform(tokens)
        chars = self.chars_.transform(normal)
        context = self._context_matrix(batch)
        texts = [
            self.word_idf_.transform(_per_text(words, batch)),
            self.char_idf_.transform(_per_text(chars, batch)),
            context,
        ]
        clauses = [
            _weigh(self.word_idf_, words),
            _weigh(self.char_idf_, chars),
            context[batch.owner],
        ]
        return FeatureMatrices(
            texts=sp.hstack(texts, format="csr", dtype=np.float32),
            clauses=sp.hstack(clauses, format="csr", dtype=np.float32),
            known=self._known_share(tokens, batch),
        )

    def _context_matrix(self, batch: Batch) -> sp.csr_matrix:
        if not hasattr(self.context_, "vocabulary_"):  # no text had any in training
            return sp.csr_matrix(np.zeros((len(batch.texts), 0), dtype=np.float32))
        counts = self.context_.transform(_context(batch))
        counts.data[:] = 1.0
        return normalize(counts)

    def _known_share(self, tokens: list[list[str]], batch: Batch) -> np.ndarray:
        vocabulary = self.words_.vocabulary_
        known, total = np.zeros(len(batch.texts)), np.zeros(len(batch.texts))
        for owner, clause in zip(batch.owner, tokens, strict=True):
            words = [word for word in clause if word[0].isalpha()]
            known[owner] += sum(word in vocabulary for word in words)
            total[owner] += len(words)
        return np.where(total > 0, known / np.maximum(total, 1), 1.0)

    def get_feature_names_out(self) -> np.ndarray:
        """Names of the columns: ``word:…``, ``char:…`` and ``context:…``."""
        return np.array(
            [
                f"{kind.removesuffix('s')}:{term}"
                for kind, terms in self.vocabularies().items()
                for term in terms
            ],
            dtype=object,
        )

    def restore(
        self,
        vocabularies: dict[str, list[str]],
        idf: dict[str, np.ndarray],
    ) -> TextFeatures:
        """Set the learned state from plain data, as `store` reads it from a model folder."""
        self._make_counters()
        for kind, counter in self._counters().items():
            if not vocabularies[kind]:
                continue
            counter.vocabulary = {term: i for i, term in enumerate(vocabularies[kind])}
            counter.vocabulary_ = counter.vocabulary
            counter.fixed_vocabulary_ = True
        self.word_idf_ = _restored_idf(idf["words"])
        self.char_idf_ = _restored_idf(idf["chars"])
        return self

    def vocabularies(self) -> dict[str, list[str]]:
        """Terms of each kind in column order: the counterpart of `restore`."""
        return {
            kind: list(counter.get_feature_names_out()) if hasattr(counter, "vocabulary_") else []
            for kind, counter in self._counters().items()
        }

    def _counters(self) -> dict[str, CountVectorizer]:
        return {"words": self.words_, "chars": self.chars_, "context": self.context_}

    def _make_counters(self, min_df: int = 1) -> None:
        self.words_ = CountVectorizer(
            tokenizer=_identity,
            preprocessor=_identity,
            token_pattern=None,
            lowercase=False,
            ngram_range=self.word_ngrams,
            min_df=min_df,
            max_features=self.max_words,
            dtype=np.float32,
        )
        self.chars_ = CountVectorizer(
            analyzer="char_wb",
            lowercase=False,
            ngram_range=self.char_ngrams,
            min_df=min_df,
            max_features=self.max_chars,
            dtype=np.float32,
        )
        self.context_ = CountVectorizer(analyzer=_identity, min_df=min_df, dtype=np.float32)


def _per_text(counts: sp.csr_matrix, batch: Batch) -> sp.csr_matrix:
    """Sum clause counts by text."""
    n_clauses, n_texts = len(batch.clauses), len(batch.texts)
    ones = np.ones(n_clauses, dtype=np.float32)
    incidence = sp.csr_matrix(
        (ones, (batch.owner, np.arange(n_clauses))), shape=(n_texts, n_clauses)
    )
    return incidence @ counts


def _context(batch: Batch) -> list[list[str]]:
    return [
        [
            *(question_tokens(question, text) if question else ()),
            *(score_tokens(score) if score is not None else ()),
        ]
        for text, question, score in zip(batch.texts, batch.questions, batch.scores, strict=True)
    ]


def _weigh(idf: TfidfTransformer, counts: sp.csr_matrix) -> sp.csr_matrix:
    """Weigh counts by TF-IDF; empty texts leave no clause, which scikit-learn would refuse."""
    return idf.transform(counts) if counts.shape[0] else counts


def _restored_idf(idf: np.ndarray) -> TfidfTransformer:
    transformer = TfidfTransformer(sublinear_tf=True)
    transformer.idf_ = idf
    transformer.n_features_in_ = len(idf)
    return transformer
