"""A comparison of two models told in Dutch: for the terminal, and as a page.

The page holds customers' texts as examples, so it is for the analyst whose data they are; what is
printed on the terminal holds none.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from druppel.cases import ANY_IRRITATION
from druppel.comparison import (
    BETTER,
    ENOUGH,
    EQUAL,
    FIGURES,
    GONE,
    MARGIN,
    MIN_TEXTS,
    MIXED,
    NEW,
    TOO_FEW,
    WORSE,
    CaseChange,
    CaseComparison,
    Comparison,
    Difference,
    LabelDifference,
    Labels,
    SetComparison,
    VolumeComparison,
)

WIDTH = 100
"""Columns of the terminal report."""

HEADLINES = {
    BETTER: "Het nieuwe model is beter.",
    WORSE: "Het nieuwe model is slechter.",
    MIXED: "Het nieuwe model is op het ene punt beter en op het andere slechter.",
    EQUAL: "De modellen zijn even goed.",
    TOO_FEW: "Er is nog te weinig gemeten om te zeggen welk model beter is.",
}

_FIGURES = dict(
    zip(
        FIGURES,
        (
            "Irritaties (F1)",
            "Sentiment (aandeel goed)",
            "Irritaties, elke categorie even zwaar (F1)",
            "Onderwerpen binnen categorieën (F1)",
            "Signalen (F1)",
        ),
        strict=True,
    )
)
_IN_SHORT = dict(
    zip(
        FIGURES,
        (
            "irritaties",
            "sentiment",
            "irritaties als elke categorie even zwaar telt",
            "onderwerpen binnen de categorieën",
            "signalen",
        ),
        strict=True,
    )
)
_JUDGEMENTS = {
    BETTER: "beter",
    WORSE: "slechter",
    EQUAL: "geen duidelijk verschil",
    TOO_FEW: "te weinig teksten",
    NEW: "nieuw",
    GONE: "vervallen",
}
_CLASSES = {BETTER: "better", WORSE: "worse", NEW: "new", GONE: "gone"}
_VIEWS = {
    "irritation": "Categorieën",
    "leaf": "Onderwerpen binnen de categorieën",
    "signal": "Signalen",
    "sentiment": "Sentiment",
}
_POLARITIES = {"neg": "als irritatie", "pos": "als lof", "neu": "als neutrale vermelding"}
_MOST_NAMED = 4
_MOST_CASES = 12
_SCALES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_NAME = 44  # columns of a label's name on the terminal, with its number of texts


@dataclass(frozen=True)
class Advice:
    """What to do, and the command that does it (None where nothing is to be run)."""

    text: str
    command: str | None = None

    def __str__(self) -> str:
        return f"{self.text} {self.command}" if self.command else self.text


def dutch_number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """Write a number with a decimal comma; with `signed`, a plus where it is positive.

    Examples
    --------
    >>> dutch_number(0.0126), dutch_number(0.0126, 2, signed=True), dutch_number(-0.0001, 2)
    ('0,013', '+0,01', '0,00')
    """
    rounded = round(value, digits) + 0.0  # no minus before a zero
    sign = "+" if signed and rounded > 0 else ""
    return f"{sign}{rounded:.{digits}f}".replace(".", ",")


# --- the verdict in words ------------------------------------------------------------------


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Tell the verdict in Dutch to someone who decides and is no statistician.

    How sure it is, where the gains and the losses are, what is new, and which set is still small.
    """
    together, names = comparison.together, comparison.names
    found = [HEADLINES[comparison.verdict] + " " + _main_figures(together)]
    found.append(_changes(together, names))
    new = {row.label for row in together.labels if row.judgement == NEW}
    # A leaf of a new category is told by its category.
    told = [
        row
        for row in together.labels
        if row.label in new and comparison.parents.get(row.label) not in new
    ]
    if told:
        found.append(_news(told, names))
    short = _shortage(comparison.sets, comparison.empty)
    if short:
        found.append(short)
    return tuple(found)


def advice(comparison: Comparison, version: str | None = None) -> Advice:
    """Say in Dutch what to do.

    Parameters
    ----------
    comparison : Comparison
    version : str, optional
        What `druppel promote` calls the new model.
    """
    promote = f"druppel promote {version or 'NUMMER'}"
    losses = [_IN_SHORT.get(name) or comparison.names[name] for name in comparison.setbacks]
    if losses:
        mend = f"bekijk de voorbeelden bij {_and(losses)}, herstel de correcties en train opnieuw"
        if comparison.verdict == MIXED:
            return Advice(
                f"Nog niet in gebruik nemen: {mend}. Weegt de winst zwaarder dan het verlies, dan "
                "kan het toch met:",
                f"{promote} --force",
            )
        return Advice(f"Niet in gebruik nemen: {mend}.")
    if comparison.verdict == BETTER:
        return Advice("Neem het nieuwe model in gebruik met:", promote)
    if any(row.judgement == NEW for row in comparison.together.labels):
        return Advice("Wie de nieuwe labels nodig heeft, kan overstappen met:", promote)
    if comparison.verdict == EQUAL:
        return Advice("Overstappen is niet nodig; het huidige model volstaat.")
    return Advice("Wacht met overstappen en beoordeel eerst meer teksten voor de meetset.")


def _main_figures(found: SetComparison) -> str:
    irritation, sentiment = (found.figure(name) for name in FIGURES[:2])
    parts = []
    if irritation:
        parts.append(_from_to("de score voor irritaties (F1)", irritation))
    else:
        parts.append("hebben de modellen geen gemeten categorie gemeen")
    if sentiment:
        parts.append(_from_to("het aandeel teksten met het goede sentiment", sentiment))
    return f"Op {_count(found.n_texts, 'tekst', 'teksten')} {_and(parts)}."


def _from_to(what: str, figure: Difference) -> str:
    old, new, change, low, high = (
        dutch_number(value, signed=i > 1)
        for i, value in enumerate((figure.old, figure.new, figure.change, figure.low, figure.high))
    )
    if not figure.low and not figure.high:
        return f"blijft {what} {new}"
    return f"gaat {what} van {old} naar {new} ({change}; 95 % zeker tussen {low} en {high})"


def _changes(found: SetComparison, names: dict[str, str]) -> str:
    """What is shown to be better and worse: figures, then categories, else leaves and signals."""

    def listed(judgement: str) -> str:
        rows = [(f.change, _IN_SHORT[f.name]) for f in found.figures if f.judgement == judgement]
        for views in (("irritation",), ("leaf", "signal")):
            labels = [
                (row.change, names[row.label])
                for row in found.labels
                if row.view in views and row.judgement == judgement and row.change is not None
            ]
            if labels:
                rows += sorted(labels, key=lambda row: (-abs(row[0]), row[1]))
                break
        shown = [f"{name} ({dutch_number(change, 3, signed=True)})" for change, name in rows]
        return _some(shown) if shown else ""

    gains, losses = listed(BETTER), listed(WORSE)
    if not gains and not losses:
        return "Geen enkel verschil is groot genoeg om toeval uit te sluiten."
    return f"Aantoonbaar beter: {gains or 'niets'}. Aantoonbaar slechter: {losses or 'niets'}."


def _news(rows: Sequence[LabelDifference], names: dict[str, str]) -> str:
    """What only the new taxonomy has, and how well it is found."""
    measured = [row for row in rows if row.new is not None]
    told = [
        f"{names[row.label]} (F1 {dutch_number(row.new or 0.0, 2)} op "
        f"{_count(row.support, 'tekst', 'teksten')}"
        + (", te weinig om op te bouwen)" if row.support < ENOUGH else ")")
        for row in measured
    ]
    rest = [names[row.label] for row in rows if row.new is None]
    parts = [f"Nieuw: {_some(told)}."] if told else []
    if rest:
        parts.append(
            f"Nieuw maar niet gemeten, want de meetset heeft er geen tekst van: {_some(rest)}."
        )
    return " ".join(parts)


def _shortage(sets: Sequence[SetComparison], empty: Sequence[str]) -> str:
    if empty:
        return (
            f"Nog leeg: {_and(empty)}; met ongeveer {MIN_TEXTS} beoordeelde teksten daarin zegt "
            "de vergelijking ook iets over de eigen klanten."
        )
    small = [one for one in sets if one.texts_needed]
    if not small:
        return ""
    least = min(small, key=lambda one: one.n_texts)
    return (
        f"Nog klein: {least.name} ({_count(least.n_texts, 'tekst', 'teksten')}); met ongeveer "
        f"{least.texts_needed} teksten erbij is het verschil daar op 0,05 na bekend."
    )


def _and(parts: Sequence[str]) -> str:
    """Join with commas and, before the last, "en"."""
    return " en ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _some(parts: Sequence[str]) -> str:
    """Join the first few, and count the others."""
    more = len(parts) - _MOST_NAMED
    return _and([*parts[:_MOST_NAMED], f"nog {more}"] if more > 0 else parts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _count(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{dutch_number(100 * share, 1)} %"


# --- terminal ------------------------------------------------------------------------------


def as_text(comparison: Comparison, version: str | None = None) -> str:
    """Tell the comparison for a terminal, in at most `WIDTH` columns and without any text.

    Parameters
    ----------
    comparison : Comparison
    version : str, optional
        What `druppel promote` calls the new model.
    """
    counts = ", ".join(f"{one.name} ({one.n_texts})" for one in comparison.sets)
    lines = []
    for head in (f"Oud    {comparison.old}", f"Nieuw  {comparison.new}", f"Op     {counts}"):
        lines += _wrap(head, 7)
    lines += ["", comparison.verdict.upper()]
    todo = str(advice(comparison, version))
    for sentence in (*sentences(comparison), f"Advies: {todo[0].lower()}{todo[1:]}"):
        lines += _wrap(f"- {sentence}", 2)
    shown = [comparison.together] if len(comparison.sets) == 1 else []
    if not shown:
        shown = [comparison.together, *comparison.sets]
    for one in shown:
        title = f"{_capital(one.name)} ({one.n_texts})"
        lines += ["", _row(title, "", "oud", "nieuw", "verschil", "95 %-interval", "oordeel")]
        for figure in one.figures:
            lines.append(_row(_FIGURES[figure.name], "", *_cells(figure), _mark(figure)))
    lines += list(_label_lines(comparison))
    if comparison.cases:
        lines += ["", *_case_lines(comparison.cases)]
    if comparison.volumes:
        lines += ["", *_volume_lines(comparison.volumes, comparison.names)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _row(name: str, texts: str, old: str, new: str, change: str, interval: str, end: str) -> str:
    width = _NAME - len(texts)
    figures = f"{old:>6s} {new:>6s} {change:>8s} {interval:>16s}"
    return f"{_short(name, width - 1):{width}s}{texts} {figures}  {end}"


def _mark(row: Difference | LabelDifference) -> str:
    """The judgement, where it is more than "no difference": so that those stand out."""
    return "" if row.judgement == EQUAL else row.judgement


def _cells(row: Difference | LabelDifference) -> tuple[str, str, str, str]:
    old, new = ("-" if x is None else dutch_number(x) for x in (row.old, row.new))
    if row.change is None or row.low is None or row.high is None:
        return old, new, "", ""
    low, high = (dutch_number(x, signed=True) for x in (row.low, row.high))
    return old, new, dutch_number(row.change, signed=True), f"{low} – {high}"


def _label_lines(comparison: Comparison) -> Iterator[str]:
    """All categories; of leaves and signals only those that say something."""
    for view in ("irritation", "leaf", "signal"):
        rows = comparison.together.of(view)
        shown = [r for r in rows if view == "irritation" or r.judgement not in (EQUAL, TOO_FEW)]
        rest = len(rows) - len(shown)
        if shown:
            yield ""
            yield _row(
                _VIEWS[view], "teksten", "oud", "nieuw", "verschil", "95 %-interval", "oordeel"
            )
        for row in shown:
            name = comparison.names[row.label]
            yield _row(name, f"{row.support:7d}", *_cells(row), _mark(row))
        if rest and shown:
            yield f"{rest} andere zonder duidelijk verschil"
        elif rest:
            yield ""
            yield f"{_VIEWS[view]}: bij geen van de {rest} een duidelijk verschil"


def _case_lines(cases: CaseComparison) -> Iterator[str]:
    n, old, new = cases.total
    yield f"Proefgevallen: van de {n} gaan er {old} goed met het oude en {new} met het nieuwe model"
    for title, changes in (("verloren", cases.lost), ("gewonnen", cases.won)):
        if changes:
            ids = [change.id for change in changes]
            more = len(ids) - _MOST_CASES
            shown = [*ids[:_MOST_CASES], f"nog {more}"] if more > 0 else ids
            yield from _wrap(f"  {title} ({len(ids)}): {', '.join(shown)}", 4)
    for title, (tried, passed) in (("nieuwe", cases.only_new), ("vervallen", cases.only_old)):
        if tried:
            yield f"  met {title} labels: {passed} van de {tried} goed"


def _volume_lines(volumes: VolumeComparison, names: dict[str, str]) -> Iterator[str]:
    n = volumes.n_texts
    yield from _wrap(
        f"Op het gekozen bestand ({_count(n, 'tekst', 'teksten')}) veranderen de labels van "
        f"{_count(volumes.changed, 'tekst', 'teksten')} ({_percent(volumes.share(volumes.changed))}"
        f"); te controleren: {_percent(volumes.share(volumes.review_old))} wordt "
        f"{_percent(volumes.share(volumes.review_new))}",
        0,
    )
    yield f"{'':{_NAME}s} {'oud':>8s} {'nieuw':>8s} {'verschil':>9s} {'erbij':>6s} {'eraf':>6s}"
    for view in ("irritation", "signal", "sentiment"):
        for row in volumes.of(view):
            shares = volumes.share(row.old), volumes.share(row.new)
            change = None if None in shares else (shares[1] or 0) - (shares[0] or 0)
            name = _short(names.get(row.label, row.label), _NAME)
            shift = "" if change is None else dutch_number(100 * change, 1, signed=True)
            yield (
                f"{name:{_NAME}s} {_percent(shares[0]):>8s} {_percent(shares[1]):>8s} {shift:>9s} "
                f"{row.gained:6d} {row.lost:6d}"
            )


def _wrap(line: str, indent: int) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


# --- page ----------------------------------------------------------------------------------


def as_html(comparison: Comparison, version: str | None = None) -> str:
    """Tell the comparison as one page that needs nothing else, with example texts.

    Whatever stands in a text is escaped, and the page's own script is the only one that its
    content security policy allows.

    Parameters
    ----------
    comparison : Comparison
    version : str, optional
        What `druppel promote` calls the new model.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("druppel", "resources"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sha256"] = _sha256
    names = comparison.names
    sets = comparison.sets if len(comparison.sets) > 1 else ()
    page = environment.get_template("comparison.html.j2")
    return page.render(
        comparison=comparison,
        tone=_CLASSES.get(comparison.verdict, comparison.verdict.replace(" ", "-")),
        headline=HEADLINES[comparison.verdict].rstrip("."),
        sentences=[_typeset(s) for s in _without_headline(sentences(comparison), comparison)],
        advice=advice(comparison, version),
        figures=[_figure_table(one) for one in (comparison.together, *sets)],
        tables=[
            {
                "title": title,
                "name": one.name,
                "views": [_label_table(one, view, comparison) for view in _VIEWS if one.of(view)],
            }
            for title, one in [("", comparison.together), *((one.name, one) for one in sets)]
        ],
        examples=[_example_group(comparison, group) for group in _most_first(comparison)],
        cases=_case_part(comparison.cases, names) if comparison.cases else None,
        volumes=_volume_part(comparison) if comparison.volumes else None,
        enough=ENOUGH,
        margin=dutch_number(MARGIN, 2),
    )


def _without_headline(said: tuple[str, ...], comparison: Comparison) -> list[str]:
    headline = HEADLINES[comparison.verdict] + " "
    return [said[0].removeprefix(headline), *said[1:]]


def _typeset(text: str) -> str:
    """Put a minus sign where a hyphen stands for one, and keep a number and its sign together."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _scale(rows: Sequence[Difference | LabelDifference]) -> float:
    """Half width of the bars of a table, which all intervals of enough texts fit in."""
    bounds = [
        max(abs(row.low), abs(row.high))
        for row in rows
        if row.low is not None and row.high is not None and row.judgement != TOO_FEW
    ]
    widest = max(bounds, default=0.0)
    return next(scale for scale in _SCALES if widest <= scale)


def _bar(row: Difference | LabelDifference, scale: float) -> dict[str, str] | None:
    """Places on a bar of 200 wide with zero in the middle."""
    if row.change is None or row.low is None or row.high is None:
        return None

    def place(value: float) -> str:
        return f"{100 + 96 * min(max(value / scale, -1.0), 1.0):.1f}"

    _, _, change, interval = _cells(row)
    return {
        "low": place(row.low),
        "high": place(row.high),
        "at": place(row.change),
        "told": _typeset(f"verschil {change}, 95 %-interval {interval}"),
        "interval": _typeset(interval),
    }


def _page_row(row: Difference | LabelDifference, scale: float) -> dict[str, Any]:
    old, new, change, _ = _cells(row)
    return {
        "old": old.replace("-", "–"),
        "new": new.replace("-", "–"),
        "change": _typeset(change),
        "bar": _bar(row, scale),
        "judgement": _JUDGEMENTS[row.judgement],
        "tone": _CLASSES.get(row.judgement, "plain"),
        "values": {
            "old": -1.0 if row.old is None else row.old,
            "new": -1.0 if row.new is None else row.new,
            "change": -2.0 if row.change is None else row.change,
        },
    }


def _figure_table(one: SetComparison) -> dict[str, Any]:
    scale = _scale(one.figures)
    rows = [{"name": _FIGURES[f.name], **_page_row(f, scale)} for f in one.figures]
    return {
        "title": _capital(one.name),
        "n_texts": one.n_texts,
        "needed": one.texts_needed,
        "scale": dutch_number(scale, 2),
        "rows": rows,
    }


def _label_table(one: SetComparison, view: str, comparison: Comparison) -> dict[str, Any]:
    found = one.of(view)
    scale = _scale(found)
    rows = []
    for row in found:
        parent = comparison.parents.get(row.label) if view == "leaf" else None
        rows.append(
            {
                "name": comparison.names[row.label],
                "parent": comparison.names[parent] if parent else "",
                "support": row.support,
                "few": row.support < ENOUGH,
                "better": row.better,
                "worse": row.worse,
                **_page_row(row, scale),
            }
        )
    return {
        "view": view,
        "title": _VIEWS[view],
        "scale": dutch_number(scale, 2),
        "rows": rows,
    }


def _most_first(comparison: Comparison) -> list[Any]:
    return sorted(comparison.examples, key=lambda group: -(group.n_better + group.n_worse))


def _example_group(comparison: Comparison, group: Any) -> dict[str, Any]:
    names, parents = comparison.names, comparison.parents

    def chips(labels: Labels) -> list[dict[str, Any]]:
        """Labels as words, those that the group is about marked."""
        found = [
            {
                "name": names.get(label, label),
                "about": group.view == "irritation" and group.label in (label, parents.get(label)),
            }
            for label in labels.irritations
        ]
        found += [
            {
                "name": f"! {names.get(label, label)}",
                "about": group.view == "signal" and label == group.label,
            }
            for label in labels.signals
        ]
        sentiment = {"name": labels.sentiment or "geen", "about": group.view == "sentiment"}
        return [sentiment, *found]

    def shown(examples: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            {
                "id": example.id,
                "set": example.set,
                "text": example.text,
                "question": example.question,
                "score": None if example.score is None else f"{example.score:g}",
                "gold": chips(example.gold),
                "old": chips(example.old),
                "new": chips(example.new),
            }
            for example in examples
        ]

    title = "Sentiment" if group.view == "sentiment" else names[group.label]
    return {
        "title": title,
        "kind": "" if group.view != "signal" else "signaal",
        "sides": [
            ("Beter", "better", group.n_better, shown(group.better), "✗", "✓"),
            ("Slechter", "worse", group.n_worse, shown(group.worse), "✓", "✗"),
        ],
        "n_better": group.n_better,
        "n_worse": group.n_worse,
    }


def _case_part(cases: CaseComparison, names: dict[str, str]) -> dict[str, Any]:
    def shown(change: CaseChange, model: str) -> dict[str, str]:
        wrong = [f"mist {_case_label(label, names)}" for label in change.lacks]
        wrong += [f"geeft ten onrechte {_case_label(label, names)}" for label in change.has]
        if change.sentiment:
            wrong.append(f"sentiment {change.sentiment}")
        return {
            "id": change.id,
            "group": change.group.replace("_", " "),
            "model": model,
            "text": change.text,
            "wrong": "; ".join(wrong),
        }

    lost = [shown(change, "nieuw") for change in cases.lost]
    won = [shown(change, "oud") for change in cases.won]
    return {
        "total": cases.total,
        "groups": [
            {"name": group.replace("_", " "), "counts": counts}
            for group, counts in cases.groups.items()
        ],
        "sides": [
            ("Verloren", "worse", "Het oude model deed deze goed, het nieuwe niet.", lost),
            ("Gewonnen", "better", "Het oude model deed deze fout, het nieuwe goed.", won),
        ],
        "only_new": cases.only_new,
        "only_old": cases.only_old,
    }


def _case_label(label: str, names: dict[str, str]) -> str:
    """A label in the notation of the cases, in words."""
    if label == ANY_IRRITATION:
        return "een irritatie"
    slug, _, polarity = label.partition(":")
    return " ".join(filter(None, [names.get(slug, slug), _POLARITIES.get(polarity, "")]))


def _volume_part(comparison: Comparison) -> dict[str, Any]:
    volumes, names = comparison.volumes, comparison.names
    assert volumes is not None

    def shown(view: str) -> list[dict[str, Any]]:
        rows = []
        highest = max(max(row.old or 0, row.new or 0) for row in volumes.of(view)) or 1
        for row in volumes.of(view):
            old, new = volumes.share(row.old), volumes.share(row.new)
            change = None if old is None or new is None else new - old
            rows.append(
                {
                    "name": names.get(row.label, row.label),
                    "old": _percent(old).replace("-", "–"),
                    "new": _percent(new).replace("-", "–"),
                    "change": ""
                    if change is None
                    else _typeset(dutch_number(100 * change, 1, signed=True)),
                    "values": {
                        "old": -1.0 if old is None else old,
                        "new": -1.0 if new is None else new,
                        "change": -2.0 if change is None else change,
                    },
                    "bars": [f"{100 * (n or 0) / highest:.1f}" for n in (row.old, row.new)],
                    "gained": row.gained,
                    "lost": row.lost,
                }
            )
        return rows

    return {
        "n_texts": volumes.n_texts,
        "changed": volumes.changed,
        "changed_share": _typeset(_percent(volumes.share(volumes.changed))),
        "review": [
            _typeset(_percent(volumes.share(n))) for n in (volumes.review_old, volumes.review_new)
        ],
        "tables": [
            {"title": title, "view": view, "rows": shown(view)}
            for view, title in (
                ("irritation", "Categorieën"),
                ("sentiment", "Sentiment"),
                ("signal", "Signalen"),
                ("leaf", "Onderwerpen binnen de categorieën"),
            )
            if volumes.of(view)
        ],
    }
