"""Labelled texts: reading, checking and counting the JSONL files of a corpus."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from druppel.errors import CorpusError, summarise
from druppel.result import POLARITIES, SENTIMENTS
from druppel.taxonomy import Taxonomy

NEAR_DUPLICATE = 0.8
"""Cosine of character 4-gram counts from which two texts are near duplicates."""

_REQUIRED = ("id", "text", "aspects", "sentiment", "signals")
# A few words are what many customers really answer ("geen opmerkingen", "top"); two of those
# are not a copy of each other's story.
_MIN_WORDS_DUPLICATE = 5


@dataclass(frozen=True, slots=True)
class GoldAspect:
    """An annotated aspect; `evidence` is a literal quotation of the text, or None."""

    leaf: str
    polarity: str
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One annotated text and where it stands (`file:line`).

    `sentiment` is None where it was not annotated; a corpus file always says it.
    """

    id: str
    text: str
    aspects: tuple[GoldAspect, ...]
    sentiment: str | None
    signals: tuple[str, ...]
    question: str | None
    score: float | None
    author: str | None
    where: str


def corpus_files(path: str | Path) -> list[Path]:
    """Return the JSONL files that `path` (a file or a folder) stands for, sorted by name.

    Raises
    ------
    CorpusError
        If there is nothing there.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.jsonl"))
    if not files:
        msg = f"{path}: no .jsonl file of labelled texts there. Check the path."
        raise CorpusError(msg)
    return files


def read_corpus(path: str | Path, taxonomy: Taxonomy) -> list[LabelledText]:
    """Read every labelled text of a file or folder.

    Raises
    ------
    CorpusError
        If a line is malformed or bears a label that the taxonomy does not know; the message
        names file and line of the first ten and counts the rest.
    """
    problems: list[str] = []
    texts = _read(corpus_files(path), taxonomy, problems)
    if problems:
        raise CorpusError(summarise(problems))
    if not texts:
        msg = f"{path}: no labelled texts. Add at least one line."
        raise CorpusError(msg)
    return texts


def digest(texts: Sequence[LabelledText]) -> str:
    """SHA-256 of the texts and labels, whatever the files they stand in."""
    value = hashlib.sha256()
    for t in texts:
        aspects = [[a.leaf, a.polarity, a.evidence] for a in t.aspects]
        row = [t.id, t.text, aspects, t.sentiment, t.signals, t.question, t.score, t.author]
        value.update(json.dumps(row).encode())
    return value.hexdigest()


def text_digest(text: str) -> str:
    """Short fingerprint of a text, by which an encoder tells what it was fine-tuned on."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def near_duplicates(texts: Sequence[str]) -> list[tuple[int, int, float]]:
    """Return pairs of texts that are nearly the same, as (earlier, later, similarity).

    Texts under five words are compared for equality only.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    # A text without words ("???", "👍") is compared as it stands.
    folded = [" ".join(re.findall(r"\w+", text.lower())) or text.strip() for text in texts]
    pairs: list[tuple[int, int, float]] = []
    seen: dict[str, int] = {}
    for i, text in enumerate(folded):
        if text in seen:
            pairs.append((seen[text], i, 1.0))
        seen.setdefault(text, i)
    long = [i for i, text in enumerate(folded) if text.count(" ") >= _MIN_WORDS_DUPLICATE - 1]
    if len(long) < 2:
        return pairs
    vectorizer = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), use_idf=False, dtype=np.float32
    )
    matrix = vectorizer.fit_transform([folded[i] for i in long])
    for begin in range(0, len(long), 500):
        similar = (matrix[begin : begin + 500] @ matrix.T).tocoo()
        for r, c, value in zip(similar.row, similar.col, similar.data, strict=True):
            a, b = long[begin + r], long[c]
            if a < b and value >= NEAR_DUPLICATE and folded[a] != folded[b]:
                pairs.append((a, b, float(value)))
    return sorted(pairs)


def groups(texts: Sequence[LabelledText]) -> np.ndarray:
    """Number the groups that must never be divided between training and test.

    Texts of one author belong together. A near duplicate of an earlier text goes with that
    text, whoever wrote it; it does not drag its author's other texts along. A text without an
    author stands on its own.

    Returns
    -------
    ndarray of shape (n_texts,)
    """
    root = list(range(len(texts)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b, _ in near_duplicates([t.text for t in texts]):
        # Only long copies bind: "geen opmerkingen" is nobody's story.
        if texts[a].text.count(" ") >= _MIN_WORDS_DUPLICATE - 1:
            low, high = sorted((find(a), find(b)))
            root[high] = low
    numbers: dict[str | int, int] = {}
    originals = [find(i) for i in range(len(texts))]
    owners = [i if texts[i].author is None else str(texts[i].author) for i in originals]
    return np.array([numbers.setdefault(owner, len(numbers)) for owner in owners])


@dataclass(frozen=True)
class CorpusReport:
    """What `check_corpus` found.

    Attributes
    ----------
    problems : list of str
        Faults that must be mended: ``file:line: what``.
    warnings : list of str
        Near duplicates, unlikely combinations and labels that are too rare to learn.
    n_texts : int
    aspects : Counter
        Number of texts by (leaf, polarity).
    signals, sentiments : Counter
    n_without_aspect : int
    """

    problems: list[str]
    warnings: list[str]
    n_texts: int
    aspects: Counter[tuple[str, str]]
    signals: Counter[str]
    sentiments: Counter[str]
    n_without_aspect: int


def check_corpus(path: str | Path, taxonomy: Taxonomy, *, min_examples: int = 10) -> CorpusReport:
    """Validate format, labels, counts and duplicates of a corpus.

    Parameters
    ----------
    path : str or Path
        A JSONL file or a folder of them.
    taxonomy : Taxonomy
    min_examples : int, default=10
        A leaf or signal with fewer examples is named in the warnings.
    """
    problems: list[str] = []
    texts = _read(corpus_files(path), taxonomy, problems)
    warnings = []
    for a, b, similarity in near_duplicates([t.text for t in texts]):
        first, second = texts[a], texts[b]
        same_question = first.question == second.question
        if similarity == 1.0 and same_question and _labels(first) != _labels(second):
            problems.append(
                f"{second.where}: the same text as {first.where} with other labels. Keep one."
            )
        elif similarity == 1.0 and same_question:
            warnings.append(f"{second.where}: the same text as {first.where}.")
        elif similarity < 1.0:
            warnings.append(f"{second.where}: nearly ({similarity:.2f}) {first.where}.")
    for text in texts:
        polarities = {a.polarity for a in text.aspects}
        if (text.sentiment, polarities) in (("positief", {"neg"}), ("negatief", {"pos"})):
            only = polarities.pop()
            warnings.append(f"{text.where}: {text.sentiment} with only {only} aspects; is it so?")
    aspects = Counter((a.leaf, a.polarity) for t in texts for a in t.aspects)
    signals = Counter(s for t in texts for s in t.signals)
    for leaf in taxonomy.leaves:
        if aspects[leaf.slug, "neg"] < min_examples:
            count = aspects[leaf.slug, "neg"]
            warnings.append(f"{leaf.slug}: {count} neg examples, {min_examples} needed.")
    for signal in taxonomy.signals:
        if signals[signal.slug] < min_examples:
            count = signals[signal.slug]
            warnings.append(f"{signal.slug}: {count} examples, {min_examples} needed.")
    return CorpusReport(
        problems=problems,
        warnings=warnings,
        n_texts=len(texts),
        aspects=aspects,
        signals=signals,
        sentiments=Counter(t.sentiment for t in texts if t.sentiment),
        n_without_aspect=sum(not t.aspects for t in texts),
    )


def _labels(text: LabelledText) -> tuple[frozenset[tuple[str, str]], str | None, frozenset[str]]:
    aspects = frozenset((a.leaf, a.polarity) for a in text.aspects)
    return aspects, text.sentiment, frozenset(text.signals)


def _read(files: Iterable[Path], taxonomy: Taxonomy, problems: list[str]) -> list[LabelledText]:
    texts: list[LabelledText] = []
    where_of: dict[str, str] = {}
    for file in files:
        for where, row in read_rows(file, problems):
            text = _parse_row(row, where, taxonomy, problems)
            if text is None:
                continue
            if text.id in where_of:
                problems.append(f"{where}: id {text.id!r} stands at {where_of[text.id]} too.")
                continue
            where_of[text.id] = where
            texts.append(text)
    return texts


def read_rows(file: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSONL file with where they stand; note what cannot be read."""
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}).")
        return
    except UnicodeDecodeError as error:
        problems.append(f"{file}: not UTF-8 at byte {error.start}. Save the file as UTF-8.")
        return
    # Not splitlines(): a text may hold U+2028, which JSON leaves unescaped.
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}: not JSON ({error.msg} at character {error.pos + 1}).")
            continue
        except (ValueError, RecursionError):
            problems.append(f"{where}: JSON that is nested too deeply or has too long a number.")
            continue
        if not isinstance(row, dict):
            problems.append(f"{where}: a line must be a JSON object.")
            continue
        yield where, row


def _parse_row(
    row: dict[str, Any], where: str, taxonomy: Taxonomy, problems: list[str]
) -> LabelledText | None:
    before = len(problems)
    missing = [key for key in _REQUIRED if key not in row]
    if missing:
        problems.append(f"{where}: lacks {', '.join(missing)}.")
        return None
    for key in ("id", "text", "sentiment"):
        if not isinstance(row[key], str) or not row[key].strip():
            problems.append(f"{where}: '{key}' must be text that is not empty.")
    for key in ("question", "author"):
        if not isinstance(row.get(key), str | None):
            problems.append(f"{where}: '{key}' must be text.")
    score = row.get("score")
    if score is not None and (type(score) not in (int, float) or not 0 <= score <= 10):
        problems.append(f"{where}: 'score' must be a grade from 0 to 10.")
    if row["sentiment"] not in SENTIMENTS:
        problems.append(f"{where}: sentiment must be one of {', '.join(SENTIMENTS)}.")
    if not isinstance(row["aspects"], list) or not isinstance(row["signals"], list):
        problems.append(f"{where}: 'aspects' and 'signals' must be lists.")
        return None
    if len(problems) > before:
        return None
    aspects = [_parse_aspect(a, row["text"], where, taxonomy, problems) for a in row["aspects"]]
    known_signals = {signal.slug for signal in taxonomy.signals}
    for signal in row["signals"]:
        if not isinstance(signal, str) or signal not in known_signals:
            problems.append(f"{where}: unknown signal {signal!r}{taxonomy.suggest(str(signal))}.")
    good = tuple(aspect for aspect in aspects if aspect is not None)
    if len({(a.leaf, a.polarity) for a in good}) < len(good):
        problems.append(f"{where}: the same leaf stands twice with the same polarity.")
    if len(problems) > before:
        return None
    return LabelledText(
        id=row["id"],
        text=row["text"],
        aspects=good,
        sentiment=row["sentiment"],
        signals=tuple(row["signals"]),
        question=row.get("question"),
        score=None if score is None else float(score),
        author=row.get("author"),
        where=where,
    )


def _parse_aspect(
    aspect: Any, text: str, where: str, taxonomy: Taxonomy, problems: list[str]
) -> GoldAspect | None:
    if not isinstance(aspect, dict) or not {"leaf", "polarity"} <= set(aspect):
        problems.append(f"{where}: an aspect must have 'leaf' and 'polarity'.")
        return None
    leaf, polarity, evidence = aspect["leaf"], aspect["polarity"], aspect.get("evidence")
    if not isinstance(leaf, str) or leaf not in taxonomy.parent:
        problems.append(f"{where}: unknown leaf {leaf!r}{taxonomy.suggest(str(leaf))}.")
    elif polarity not in POLARITIES:
        problems.append(f"{where}: polarity must be one of {', '.join(POLARITIES)}.")
    elif evidence is not None and (not isinstance(evidence, str) or evidence not in text):
        problems.append(f"{where}: the evidence of {leaf} is not literally in the text.")
    else:
        return GoldAspect(leaf, polarity, evidence or None)
    return None
