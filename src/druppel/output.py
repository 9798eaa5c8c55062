"""How results stand beside the input columns: the output contract for JSONL and tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from druppel.result import (
    POLARITIES,
    SENTIMENTS,
    TABLE_COLUMNS_AFTER,
    TABLE_COLUMNS_BEFORE,
    Result,
)
from druppel.tables import ERROR, Row
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

BY_COLUMN = "labels"
"""Key of a JSONL row with several texts: the contract for each text column."""

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
    said: dict[str, set[str]] = {}
    for aspect in result.aspects:
        said.setdefault(aspect.category, set()).add(aspect.polarity)
    for category, polarities in said.items():
        row[category] = "+".join(p for p in POLARITIES if p in polarities)
    row["aspecten"] = ", ".join(f"{a.leaf or a.category}:{a.polarity}" for a in result.aspects)
    row["bewijs"] = " | ".join(f"{a.leaf or a.category}: {a.evidence}" for a in result.aspects)
    row["taal"] = result.language
    row["model"] = result.model
    return row


@dataclass(frozen=True)
class Variable:
    """A variable that Druppel adds to an SPSS file.

    Attributes
    ----------
    name : str
    label : str
        What it is, in Dutch.
    values : mapping from float to str, optional
        Value labels; None for text and for a measure.
    is_text : bool
    """

    name: str
    label: str
    values: Mapping[float, str] | None = None
    is_text: bool = False


_NO_YES = {0.0: "nee", 1.0: "ja"}
_SENTIMENT_CODES = {float(code): name for code, name in enumerate(SENTIMENTS, start=1)}


def spss_variables(taxonomy: Taxonomy) -> list[Variable]:
    """Variables that Druppel adds to an SPSS file: 0/1 for each category and signal."""
    found = [
        Variable("sentiment", "Sentiment van het antwoord", _SENTIMENT_CODES),
        Variable("sentiment_score", "Sentiment van -1 (negatief) tot 1 (positief)"),
    ]
    for prefix, word in (("ergernis", "Ergernis"), ("lof", "Lof")):
        found += [
            Variable(f"{prefix}_{c.slug}", f"{word}: {c.name_nl}", _NO_YES)
            for c in taxonomy.categories
        ]
    found += [
        Variable(f"signaal_{s.slug}", f"Signaal: {s.name_nl}", _NO_YES) for s in taxonomy.signals
    ]
    return [
        *found,
        Variable("controleren", "Model twijfelt: zelf nakijken", _NO_YES),
        Variable("aspecten", "Genoemde onderwerpen met neg, pos of neu", is_text=True),
        Variable("bewijs", "Woorden van de klant waaruit ze blijken", is_text=True),
        Variable("taal", "Taal van het antwoord", is_text=True),
        Variable("model", "Model dat de labels gaf", is_text=True),
    ]


def to_spss_row(result: Result, taxonomy: Taxonomy) -> dict[str, Any]:
    """Give the values of `spss_variables`; what was not labelled is missing."""
    flat = to_row(result, taxonomy)
    row: dict[str, Any] = {variable.name: None for variable in spss_variables(taxonomy)}
    row |= {name: flat[name] for name in ("aspecten", "bewijs", "taal", "model")}
    row["controleren"] = int(result.review)
    if result.sentiment is None:
        return row
    row["sentiment"] = SENTIMENTS.index(result.sentiment.label) + 1
    row["sentiment_score"] = flat["sentiment_score"]
    said = {(a.category, a.polarity) for a in result.aspects}
    signals = {s.signal for s in result.signals}
    for category in taxonomy.categories:
        row[f"ergernis_{category.slug}"] = int((category.slug, "neg") in said)
        row[f"lof_{category.slug}"] = int((category.slug, "pos") in said)
    for signal in taxonomy.signals:
        row[f"signaal_{signal.slug}"] = int(signal.slug in signals)
    return row


class OutputRows:
    """How a labelled row is written: the input's columns and ours beside them.

    Parameters
    ----------
    taxonomy : Taxonomy
    format : str
        One of `druppel.tables.OUTPUT_FORMATS`.
    columns : sequence of str
        Of the input.
    text_columns : sequence of str
        Those that were labelled. With several, our columns bear the text column's name in
        front, and JSONL rows have one object `BY_COLUMN`.
    errors : bool, default=True
        Whether there is a column for what could not be read or labelled.

    Attributes
    ----------
    renamed : dict of str to str
        Names under which the input's columns are kept.
    added : list of str
        Names of ours, in order.
    kinds : dict of str to set of type
        Types of ours.
    labels : dict of str to str
        What ours are, in Dutch (SPSS only).
    value_labels : dict of str to mapping
        Value labels of ours (SPSS only).
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        format: str,
        columns: Sequence[str],
        text_columns: Sequence[str],
        *,
        errors: bool = True,
    ) -> None:
        self._taxonomy = taxonomy
        self._format = format
        self._texts = list(text_columns)
        self.kinds: dict[str, set[type]] = {}
        self.labels: dict[str, str] = {}
        self.value_labels: dict[str, Mapping[float, str]] = {}
        several = len(self._texts) > 1
        self._prefixes = [f"{text}_" if several else "" for text in self._texts]
        if format == "jsonl":
            names = [BY_COLUMN] if several else list(CONTRACT_COLUMNS)
        else:
            names = [name for prefix in self._prefixes for name in self._add(prefix)]
        self.added = [*names, ERROR] if errors else names
        # The name of the error column is ours also where there is none, so that a column of the
        # input has the same name in every output.
        reserved = [*names, ERROR]
        self.renamed = dict(zip(columns, keep_input_columns(columns, reserved), strict=True))

    def _add(self, prefix: str) -> list[str]:
        """Name our columns for one text column; remember what they hold."""
        if self._format != "sav":
            names = [prefix + name for name in table_columns(self._taxonomy)]
            self.kinds[f"{prefix}sentiment_score"] = {float}
            self.kinds[f"{prefix}controleren"] = {bool}
            return names
        variables = spss_variables(self._taxonomy)
        about = f"{prefix[:-1]}: " if prefix else ""
        for variable in variables:
            name = prefix + variable.name
            self.labels[name] = about + variable.label
            if not variable.is_text:
                self.kinds[name] = {float}
            if variable.values is not None:
                self.value_labels[name] = variable.values
        return [prefix + variable.name for variable in variables]

    def row(self, row: Row, results: Sequence[Result], error: str | None) -> Row:
        """Put a row's results beside its own columns."""
        kept = {self.renamed[c]: value for c, value in row.items() if c in self.renamed}
        if self._format == "jsonl":
            found = [result.to_dict() for result in results]
            ours = (
                {BY_COLUMN: dict(zip(self._texts, found, strict=True))}
                if len(found) > 1
                else found[0]
            )
            return {**kept, **ours} | ({ERROR: error} if error else {})
        flat = to_spss_row if self._format == "sav" else to_row
        for prefix, result in zip(self._prefixes, results, strict=True):
            for name, value in flat(result, self._taxonomy).items():
                kept[prefix + name] = value
        kept[ERROR] = error
        return kept


def notes(taxonomy: Taxonomy, text_columns: Sequence[str] = ()) -> list[tuple[str, str]]:
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
        (ERROR, "Waarom een rij niet gelezen of gelabeld kon worden; ontbreekt als alles lukte."),
    ]
    if len(text_columns) > 1:
        named = ", ".join(f"{column}_…" for column in text_columns)
        lines.insert(0, (named, "De kolommen hieronder, voor elke vraag een stel."))
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
