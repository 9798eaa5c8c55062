"""How results stand beside the input columns: the output contract for JSONL and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from druppel.result import POLARITIES, TABLE_COLUMNS_AFTER, TABLE_COLUMNS_BEFORE, Result
from druppel.taxonomy import Taxonomy

CONTRACT_COLUMNS = (
    "sentiment",
    "irritations",
    "aspects",
    "signals",
    "language",
    "review",
    "model",
)
"""Keys that Druppel adds to a JSONL row."""

_INPUT_SUFFIX = "_input"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a labelled JSONL row."""
    file = resources.files("druppel") / "resources" / "result.schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def table_columns(taxonomy: Taxonomy) -> list[str]:
    """Names of the columns that Druppel adds to a table."""
    categories = (category.slug for category in taxonomy.categories)
    return [*TABLE_COLUMNS_BEFORE, *categories, *TABLE_COLUMNS_AFTER]


def keep_input_columns(columns: Sequence[str], added: Sequence[str]) -> list[str]:
    """Names under which the input columns are kept: a suffix where a name is ours.

    Examples
    --------
    >>> keep_input_columns(["id", "sentiment"], ["sentiment", "model"])
    ['id', 'sentiment_input']
    """
    taken = {*columns, *added}
    kept = []
    for column in columns:
        name = column
        if column in added:
            name, number = column + _INPUT_SUFFIX, 1
            while name in taken:
                number += 1
                name = f"{column}{_INPUT_SUFFIX}{number}"
            taken.add(name)
        kept.append(name)
    return kept


def to_row(result: Result, taxonomy: Taxonomy) -> dict[str, Any]:
    """Flatten a result to the columns of `table_columns`."""
    row: dict[str, Any] = dict.fromkeys(table_columns(taxonomy))
    if result.sentiment is not None:
        row["sentiment"] = result.sentiment.label
        row["sentiment_score"] = round(result.sentiment.score, 2)
    row["irritaties"] = ", ".join(result.irritations)
    row["signalen"] = ", ".join(signal.signal for signal in result.signals)
    row["controleren"] = result.review
    for category in taxonomy.categories:
        said = {a.polarity for a in result.aspects if a.category == category.slug}
        row[category.slug] = "+".join(p for p in POLARITIES if p in said) or None
    row["aspecten"] = ", ".join(f"{a.leaf or a.category}:{a.polarity}" for a in result.aspects)
    row["bewijs"] = " | ".join(f"{a.leaf or a.category}: {a.evidence}" for a in result.aspects)
    row["taal"] = result.language
    row["model"] = result.model
    return row


def notes(taxonomy: Taxonomy) -> list[tuple[str, str]]:
    """Explain the columns in Dutch, for the second sheet of a workbook."""
    lines = [
        ("sentiment", "Sentiment van het hele antwoord: negatief, positief, neutraal of gemengd."),
        ("sentiment_score", "Van -1 (heel negatief) tot 1 (heel positief)."),
        ("irritaties", "Categorieën waarover de klant zich ergert."),
        ("signalen", "Signalen van loyaliteit en escalatie; zie onderaan."),
        ("controleren", "ja: het model twijfelt, kijk dit antwoord zelf na."),
        (
            "aspecten",
            "De genoemde onderwerpen, elk met neg (ergernis), pos (lof) of neu (neutraal).",
        ),
        ("bewijs", "De woorden van de klant waaruit elk onderwerp blijkt."),
        ("taal", "Taal van het antwoord; alleen Nederlands (nl) krijgt labels."),
        ("model", "Het model dat de labels gaf."),
    ]
    lines.append(
        (
            "kolom per categorie",
            "neg: ergernis; pos: lof, dus het tegendeel van wat de naam zegt; neu: alleen genoemd; "
            "neg+pos: beide; leeg: niet genoemd.",
        )
    )
    for category in taxonomy.categories:
        lines.append((category.slug, f"{category.name_nl}: {category.definition}"))
        lines += [
            (leaf.slug, f"{category.name_nl} > {leaf.name_nl}: {leaf.definition}")
            for leaf in taxonomy.leaves
            if leaf.parent == category.slug
        ]
    lines += [(s.slug, f"Signaal {s.name_nl}: {s.definition}") for s in taxonomy.signals]
    return lines
