"""Challenge cases: single texts that each try one difficulty, and what a model must say of them.

A case is a line of JSONL with ``id``, ``group`` and ``text``, optionally ``question`` and
``score``, and at least one demand:

- ``expect``: labels that must be found, such as ``"telefonie:neg"`` (a category),
  ``"keuzemenu:neg"`` (a leaf) or ``"vertrek"`` (a signal);
- ``forbid``: labels that must not be found; ``"*:neg"`` forbids every irritation;
- ``sentiment``: the sentiments that will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from druppel.corpus import corpus_files, read_rows
from druppel.errors import CorpusError, summarise
from druppel.labeler import Labeler
from druppel.result import POLARITIES, SENTIMENTS, Result
from druppel.taxonomy import Taxonomy

ANY_IRRITATION = "*:neg"


@dataclass(frozen=True, slots=True)
class Case:
    """One text with what must and must not be found in it."""

    id: str
    group: str
    text: str
    question: str | None
    score: float | None
    expect: frozenset[str]
    forbid: frozenset[str]
    sentiment: frozenset[str]

    def failures(self, result: Result) -> list[str]:
        """Return what a result does wrong, one phrase a demand that is not met."""
        found = found_labels(result)
        said = result.sentiment.label if result.sentiment else None
        wrong = [f"lacks {label}" for label in sorted(self.expect - found)]
        wrong += [f"has {label}" for label in sorted(self.forbid & found)]
        if self.sentiment and said not in self.sentiment:
            wrong.append(f"sentiment {said}")
        return wrong


@dataclass(frozen=True)
class CaseReport:
    """How a model did on challenge cases.

    Attributes
    ----------
    passed, total : dict of str to int
        By group, in the order of the file.
    failures : dict of str to list of str
        What went wrong, by case id.
    """

    passed: dict[str, int]
    total: dict[str, int]
    failures: dict[str, list[str]]

    @property
    def share(self) -> float:
        """Share of all cases that passed."""
        return sum(self.passed.values()) / max(sum(self.total.values()), 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"passed": self.passed, "total": self.total, "failures": self.failures}


def found_labels(result: Result) -> set[str]:
    """Labels of a result in the notation of the cases."""
    found = {f"{a.category}:{a.polarity}" for a in result.aspects}
    found |= {f"{a.leaf}:{a.polarity}" for a in result.aspects if a.leaf}
    found |= {signal.signal for signal in result.signals}
    if result.irritations:
        found.add(ANY_IRRITATION)
    return found


def run_cases(cases: Sequence[Case], labeler: Labeler) -> CaseReport:
    """Label the cases and compare with what they demand."""
    results = labeler.label_many(
        [case.text for case in cases],
        [case.question for case in cases],
        [case.score for case in cases],
    )
    passed: dict[str, int] = {}
    total: dict[str, int] = {}
    failures: dict[str, list[str]] = {}
    for case, result in zip(cases, results, strict=True):
        wrong = case.failures(result)
        total[case.group] = total.get(case.group, 0) + 1
        passed[case.group] = passed.get(case.group, 0) + (not wrong)
        if wrong:
            failures[case.id] = wrong
    return CaseReport(passed, total, failures)


def read_cases(path: str | Path, taxonomy: Taxonomy) -> list[Case]:
    """Read the cases of a JSONL file, or of every one in a folder.

    Raises
    ------
    CorpusError
        If a line is malformed or names a label that the taxonomy does not know.
    """
    problems: list[str] = []
    cases: list[Case] = []
    seen: set[str] = set()
    known = _known_labels(taxonomy)
    for file in corpus_files(path):
        for where, row in read_rows(file, problems):
            case = _parse(row, where, taxonomy, known, problems)
            if case is None:
                continue
            if case.id in seen:
                problems.append(f"{where}: id {case.id!r} stands twice.")
            seen.add(case.id)
            cases.append(case)
    if problems:
        raise CorpusError(summarise(problems))
    if not cases:
        msg = f"{path}: no cases. Add at least one line."
        raise CorpusError(msg)
    return cases


def _parse(
    row: dict[str, Any],
    where: str,
    taxonomy: Taxonomy,
    known: set[str],
    problems: list[str],
) -> Case | None:
    before = len(problems)
    for key in ("id", "group", "text"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            problems.append(f"{where}: '{key}' must be text that is not empty.")
    demands = {}
    for key in ("expect", "forbid", "sentiment"):
        value = row.get(key, [])
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
            problems.append(f"{where}: '{key}' must be a list of labels.")
            value = []
        demands[key] = frozenset(value)
    if not any(demands.values()):
        problems.append(f"{where}: demands nothing. Give 'expect', 'forbid' or 'sentiment'.")
    for key in ("expect", "forbid"):
        for label in sorted(demands[key] - known):
            hint = taxonomy.suggest(label.partition(":")[0])
            problems.append(f"{where}: unknown label {label!r}{hint}.")
    for label in sorted(demands["sentiment"] - set(SENTIMENTS)):
        problems.append(
            f"{where}: sentiment must be one of {', '.join(SENTIMENTS)}, got {label!r}."
        )
    score, question = row.get("score"), row.get("question")
    if score is not None and (type(score) not in (int, float) or not 0 <= score <= 10):
        problems.append(f"{where}: 'score' must be a grade from 0 to 10.")
    if not isinstance(question, str | None):
        problems.append(f"{where}: 'question' must be text.")
    if len(problems) > before:
        return None
    return Case(
        id=row["id"],
        group=row["group"],
        text=row["text"],
        question=question,
        score=None if score is None else float(score),
        expect=demands["expect"],
        forbid=demands["forbid"],
        sentiment=demands["sentiment"],
    )


def _known_labels(taxonomy: Taxonomy) -> set[str]:
    aspects = [label.slug for label in (*taxonomy.categories, *taxonomy.leaves)]
    signals = {signal.slug for signal in taxonomy.signals}
    return {f"{label}:{p}" for label in aspects for p in POLARITIES} | signals | {ANY_IRRITATION}
