"""What `druppel.drift` found, told in Dutch to an analyst: on a terminal and as a web page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from druppel.drift import (
    DOWN,
    FEW_HELD_OUT,
    IMPRECISE,
    MIN_TEXTS,
    SAME,
    TOO_FEW,
    UNLIKE,
    UP,
    Drift,
    EmergingTerm,
    Kind,
    LabelDrift,
    PeriodSummary,
    ShareDrift,
)
from druppel.evaluation import Figure
from druppel.features import normalise

STRANGE = 0.05
"""Excess divergence of words (in bits) from which the model may no longer fit.

Of the corpus that ships, texts of two authors differ by 0.05 to 0.12, and survey answers and mails
by 0.02.
"""

_WIDTH = 100
_EXCERPT = 170
_MANY = 0.1
_NAMED = 5  # examples in a sentence
_TITLES: dict[Kind, str] = {
    "irritation": "Irritaties",
    "signal": "Signalen",
    "sentiment": "Sentiment",
}
_SHARES = {
    "review": ("Te controleren", "van de antwoorden met tekst"),
    "unlabelled": ("Zonder label", "van de Nederlandse antwoorden"),
    "foreign": ("In een andere taal", "van de antwoorden met tekst"),
    "empty": ("Leeg of zonder woorden", "van alle antwoorden"),
}
_NOTHING = "≈0"
_ARROWS = {UP: "▲", DOWN: "▼"}
_REASONS = {
    FEW_HELD_OUT: "te weinig voorbeelden in de meetset",
    IMPRECISE: "het model mist te veel of slaat te vaak vals alarm",
    UNLIKE: "het model vindt er minder (of meer) dan bij zijn fouten in de meetset kan",
}
_READING = (
    "Aandelen zijn van de Nederlandse antwoorden met tekst. ‘Gecorrigeerd’ betekent: omgerekend "
    "met hoe vaak het model op de meetset een label mist en hoe vaak het er een te veel geeft "
    "(Rogan en Gladen, 1978; sentiment met de hele verwarringstabel).",
    "Tussen haakjes, en als streep in de grafiek, staat het gebied waar het echte aandeel met 95% "
    "zekerheid ligt. Het telt zowel het toeval van de antwoorden mee als dat van de meetset.",
    "‘Toegenomen’ en ‘afgenomen’ staan er alleen als toeval het verschil niet verklaart, ook "
    "rekening houdend met hoeveel aandelen hier naast elkaar staan (Benjamini-Hochberg, 5%). "
    "Daarom kan een verschil waarvan het gebied nul net niet bevat, toch ‘geen aantoonbaar "
    "verschil’ heten.",
    "De correctie gaat ervan uit dat het model in beide periodes evenveel fouten maakt als op de "
    "meetset. Of dat zo is, weet u alleen door antwoorden na te kijken: druppel review.",
)


@dataclass(frozen=True)
class Conclusion:
    """What to take from it, in Dutch sentences.

    Attributes
    ----------
    headline : str
    changed, noise, actions : tuple of str
        What really changed, what may be chance, and what to do.
    """

    headline: str
    changed: tuple[str, ...]
    noise: tuple[str, ...]
    actions: tuple[str, ...]


def conclude(drift: Drift) -> Conclusion:
    """Say what changed, what is noise and what to do."""
    compared = [label.judgement for label in drift.labels]
    compared += [share.judgement for share in _shares(drift).values()]
    n_changed = sum(judgement in _ARROWS for judgement in compared)
    small = _small(drift)
    if small:
        which = " en ".join(f"{p.name} heeft er {p.n_dutch}" for p in small)
        headline = (
            f"Te weinig Nederlandse antwoorden om iets te zeggen: {which}; nodig zijn er minstens "
            f"{MIN_TEXTS}."
        )
    elif n_changed == 0:
        headline = f"Geen van de {len(compared)} vergeleken aandelen is aantoonbaar veranderd."
    elif n_changed == 1:
        headline = f"Eén van de {len(compared)} vergeleken aandelen is aantoonbaar veranderd."
    else:
        headline = (
            f"{n_changed} van de {len(compared)} vergeleken aandelen zijn aantoonbaar veranderd."
        )
    return Conclusion(
        headline=headline,
        changed=tuple(_changed(drift)),
        noise=() if small else tuple(_noise(drift)),
        actions=tuple(_actions(drift)),
    )


def _shares(drift: Drift) -> dict[str, ShareDrift]:
    return {
        "review": drift.review,
        "unlabelled": drift.unlabelled,
        "foreign": drift.foreign,
        "empty": drift.empty,
    }


def _small(drift: Drift) -> list[PeriodSummary]:
    return [period for period in (drift.reference, drift.new) if period.n_dutch < MIN_TEXTS]


def _changed(drift: Drift) -> Iterable[str]:
    for kind in _TITLES:
        for label in _ordered(drift.of_kind(kind)):
            if label.judgement in _ARROWS:
                yield f"{_subject(label)}: {_movement(label_shares(label), label.difference)}" + (
                    "." if label.corrected else "; zoals gevonden, niet gecorrigeerd."
                )
    for key, share in _shares(drift).items():
        title = _SHARES[key][0]
        if share.judgement in _ARROWS:
            much = "vaker" if share.judgement == UP else "minder vaak"
            yield f"{title}: {much}, {_movement(_percents(share.observed), share.difference)}."
    words = drift.vocabulary
    if words.beyond_chance:
        named = [
            f"{much} {_listed(f'‘{w.word}’' for w in changed[:_NAMED])}"
            for much, changed in (("vaker", words.more), ("minder vaak", words.less))
            if changed
        ]
        degree = "duidelijk anders" if words.excess >= STRANGE else "iets anders"
        which = f": {'; '.join(named)}" if named else ", zonder dat één woord eruit springt"
        yield f"De woorden die klanten gebruiken zijn {degree} dan toeval verklaart{which}."
    elif words.more or words.less:
        named = [f"‘{w.word}’" for w in (*words.more, *words.less)[: 2 * _NAMED]]
        yield f"Losse woorden die vaker of minder vaak voorkomen: {_listed(named)}."


def _subject(label: LabelDrift) -> str:
    up = label.judgement == UP
    if label.kind == "irritation":
        return f"{'Meer' if up else 'Minder'} irritatie over ‘{label.name}’"
    if label.kind == "signal":
        return f"Signaal ‘{label.name}’ komt {'vaker' if up else 'minder vaak'} voor"
    return f"{'Meer' if up else 'Minder'} antwoorden zijn {label.label}"


_ABOUT_NOTHING = (
    "tussen haakjes hoe vaak het model het vond; "
    "dat is niet vaker dan het zich op de meetset vergist"
)


def _percents(shares: tuple[Figure, Figure]) -> tuple[str, str]:
    return percent(shares[0].value), percent(shares[1].value)


def label_shares(label: LabelDrift) -> tuple[str, str]:
    """The two shares in words; one that the correction makes nothing of tells what was found."""
    old, new = (
        f"{_NOTHING} ({found})"
        if found and label.corrected and round(figure.value, 3) == 0
        else percent(figure.value)
        for figure, found in zip(label.shares, label.found, strict=True)
    )
    return old, new


def _movement(shares: tuple[str, str], difference: Figure) -> str:
    return (
        f"van {shares[0]} naar {shares[1]} "
        f"({points(difference.value)} procentpunt, {points(difference.low)} tot "
        f"{points(difference.high)})"
    )


def _noise(drift: Drift) -> Iterable[str]:
    same = [label for label in drift.labels if label.judgement == SAME]
    for kind, singular, plural in (
        ("irritation", "irritatie", "irritaties"),
        ("signal", "signaal", "signalen"),
        ("sentiment", "sentiment", "sentimenten"),
    ):
        names = [label.name for label in same if label.kind == kind]
        total = sum(label.kind == kind for label in drift.labels)
        if names:
            count = f"alle {total}" if len(names) == total > 1 else f"{len(names)} van de {total}"
            noun = singular if total == 1 else plural
            listed = "" if len(names) == total else f": {_listed(names)}"
            yield f"Geen aantoonbaar verschil bij {count} {noun}{listed}."
    perhaps = [
        f"{label.name} ({points(label.difference.value)})"
        for label in _ordered(same)
        if label.difference.low > 0 or label.difference.high < 0
    ]
    if perhaps:
        yield (
            f"Misschien, houd in het oog: {_listed(perhaps)}. Op zichzelf bekeken is dit anders "
            "dan vroeger, maar naast zoveel andere vergelijkingen kan het toeval zijn."
        )
    if same:
        widths = sorted(label.difference.high - label.difference.low for label in same)
        half = widths[len(widths) // 2] / 2
        yield (
            f"Verschuivingen van minder dan ongeveer {decimal(half)} procentpunt zijn met deze "
            "aantallen niet van toeval te onderscheiden."
        )
    few = [label.name for label in drift.labels if label.judgement == TOO_FEW]
    if few:
        yield f"Te weinig gevallen om te beoordelen: {_listed(few)}."
    if drift.vocabulary.normal is not None and not drift.vocabulary.beyond_chance:
        yield "De woorden als geheel verschillen niet meer dan bij toeval."


def _actions(drift: Drift) -> Iterable[str]:
    new, reference = drift.new, drift.reference
    if _small(drift):
        yield "Vergelijk langere periodes, of voeg bestanden samen."
    doubts = []
    if drift.review.judgement == UP:
        doubts.append("het model twijfelt aan meer antwoorden dan voorheen")
    if drift.vocabulary.beyond_chance and drift.vocabulary.excess >= STRANGE:
        doubts.append("de woorden zijn duidelijk anders dan voorheen")
    if doubts:
        yield (
            f"Let op: {' en '.join(doubts)}. Het model past misschien minder goed bij deze "
            "antwoorden. Kijk een deel na met druppel review; train daarna zo nodig opnieuw."
        )
    if drift.emerging:
        terms = _listed(f"‘{term.term}’" for term in drift.emerging[:_NAMED])
        yield (
            f"Onder de nieuwe antwoorden zonder label vallen op: {terms}. Lees er enkele en "
            "bedenk of dit een eigen categorie verdient."
        )
    for reason, advice in (
        (FEW_HELD_OUT, "Label meer antwoorden uit de aselecte steekproef van druppel review."),
        (IMPRECISE, "Verbeter het model met correcties, of kijk deze antwoorden zelf na."),
        (UNLIKE, "Deze antwoorden zijn anders dan de meetset: kijk er een deel na."),
    ):
        names = [label.name for label in drift.labels if label.uncorrectable == reason]
        if len(names) == len(drift.labels):
            yield f"Niets is gecorrigeerd: {_REASONS[reason]}. {advice}"
        elif names:
            yield f"Niet gecorrigeerd: {_listed(names)} ({_REASONS[reason]}). {advice}"
    if drift.overlap >= _MANY:
        yield (
            f"{percent(drift.overlap)} van de langere antwoorden in {new.name} staat letterlijk "
            f"ook in {reference.name}. Overlappen de periodes? Dat verhult verschillen."
        )
    for period in (reference, new):
        if period.n_copies >= _MANY * period.n_texts:
            yield (
                f"{period.name} bevat {count(period.n_copies)} letterlijke kopieën van langere "
                "antwoorden. Ze tellen mee in de aandelen: controleer het bestand."
            )
    if drift.foreign.judgement == UP:
        yield "Er zijn meer antwoorden in een andere taal; die krijgen geen labels."
    if drift.empty.judgement == UP:
        yield "Er zijn meer lege antwoorden: is de vraag of de export veranderd?"


# --- numbers ----------------------------------------------------------------------------------


def percent(share: float) -> str:
    """A share as the Dutch write it.

    Examples
    --------
    >>> percent(0.1234)
    '12,3%'
    """
    return f"{decimal(share)}%"


def decimal(share: float) -> str:
    """A share in percentage points, without sign.

    Examples
    --------
    >>> decimal(-0.0503)
    '5,0'
    """
    return f"{abs(100 * share):.1f}".replace(".", ",")


def points(difference: float) -> str:
    """A difference in percentage points.

    Examples
    --------
    >>> points(0.05), points(-0.0123), points(-0.0001)
    ('+5,0', '−1,2', '0,0')
    """
    sign = "+" if difference > 0 else "−"
    written = decimal(difference)
    return written if written == "0,0" else sign + written


def count(number: int) -> str:
    """A count with dots between thousands.

    Examples
    --------
    >>> count(12345)
    '12.345'
    """
    return f"{number:,}".replace(",", ".")


def _bits(value: float) -> str:
    return f"{value:.3f}".replace(".", ",")


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return " en ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _ordered(labels: Sequence[LabelDrift]) -> list[LabelDrift]:
    """What changed first, the largest change first; then the most frequent."""
    return sorted(
        labels,
        key=lambda x: (
            x.judgement not in _ARROWS,
            -abs(x.difference.value) if x.judgement in _ARROWS else -max(x.found),
            x.label,
        ),
    )


# --- terminal ---------------------------------------------------------------------------------


def as_text(drift: Drift) -> str:
    """Report in at most 100 columns, in Dutch.

    Parameters
    ----------
    drift : Drift

    Returns
    -------
    str
        Ends with a line break. Holds words of customers, but no whole answers.
    """
    told = conclude(drift)
    lines = [
        *_wrapped(f"Wat is er veranderd: {drift.reference.name} → {drift.new.name}"),
        *_wrapped(
            f"{_size(drift.reference)}; {_size(drift.new)}. Gelabeld door {drift.model}. "
            f"{_correction(drift)}."
        ),
        "",
        *_wrapped(told.headline),
    ]
    for title, sentences in (
        ("Echt veranderd", told.changed),
        ("Binnen de ruis", told.noise),
        ("Wat te doen", told.actions or ("Aan het model hoeft niets te gebeuren.",)),
    ):
        if sentences:
            lines += ["", title]
            for sentence in sentences:
                lines += _wrapped(sentence, "- ", "  ")
    for kind, title in _TITLES.items():
        if labels := _ordered(drift.of_kind(kind)):
            lines += ["", _row(title, "vroeger", "nieuw", "verschil in procentpunt", "oordeel")]
            lines += [_label_row(label) for label in labels]
    if any(_NOTHING in share for label in drift.labels for share in label_shares(label)):
        lines += _wrapped(f"{_NOTHING}: {_ABOUT_NOTHING}", "", "  ")
    if any(label.uncorrectable for label in drift.labels):
        lines += ["* niet te corrigeren: het aandeel dat het model vond"]
    lines += ["", _row("Overige", "vroeger", "nieuw", "verschil in procentpunt", "oordeel")]
    for key, share in _shares(drift).items():
        title = _SHARES[key][0]
        shares = _percents(share.observed)
        lines.append(_figures_row(title, shares, share.difference, share.judgement))
    lines += ["", *_word_lines(drift)]
    if drift.emerging:
        lines += ["", "Opvallend onder nieuwe antwoorden zonder label (antwoorden zonder label)"]
        for term in drift.emerging:
            with_ = f" (ook: {', '.join(term.related[:_NAMED])})" if term.related else ""
            lines += _wrapped(
                f"{term.term}: {term.unlabelled}; in alle antwoorden van {term.found[0]} naar "
                f"{term.found[1]}{with_}",
                "- ",
                "  ",
            )
    return "\n".join(lines) + "\n"


def _size(period: PeriodSummary) -> str:
    noun = "antwoord" if period.n_texts == 1 else "antwoorden"
    return (
        f"{period.name}: {count(period.n_texts)} {noun}, waarvan {count(period.n_dutch)} "
        "Nederlands met tekst"
    )


def _correction(drift: Drift) -> str:
    if not drift.n_held_out:
        return "Niet gecorrigeerd: er is geen meetset"
    return f"Gecorrigeerd met {count(drift.n_held_out)} teksten van de meetset"


def _word_lines(drift: Drift) -> list[str]:
    words = drift.vocabulary
    if words.divergence is None or words.normal is None:
        return ["Woorden: te weinig tekst om te vergelijken."]
    lines = _wrapped(
        f"Woorden: afstand {_bits(words.divergence)} (Jensen-Shannon); bij toeval "
        f"{_bits(words.normal.value)}, hoogstens {_bits(words.normal.high)}."
    )
    for title, changed in (("vaker", words.more), ("minder vaak", words.less)):
        if changed:
            listed = ", ".join(f"{w.word} ({w.found[0]} → {w.found[1]})" for w in changed)
            lines += _wrapped(f"{title}: {listed}", "- ", "  ")
    return lines


def _label_row(label: LabelDrift) -> str:
    star = "*" if label.uncorrectable else ""
    shares = label_shares(label)
    return _figures_row(label.name, shares, label.difference, label.judgement, star)


def _figures_row(
    name: str, shares: tuple[str, str], difference: Figure, judgement: str, star: str = ""
) -> str:
    interval = f"{points(difference.low)} tot {points(difference.high)}"
    return _row(
        name,
        *shares,
        f"{points(difference.value):>6} ({interval})",
        f"{_ARROWS.get(judgement, ' ')} {judgement}",
        star,
    )


def _row(name: str, old: str, new: str, difference: str, judgement: str, star: str = "") -> str:
    name = textwrap.shorten(name, 28, placeholder="…")
    return f"{name + star:<29}{old:>7}{new:>8}  {difference:<27} {judgement}".rstrip()


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=rest)


# --- web page ---------------------------------------------------------------------------------


def as_html(drift: Drift) -> str:
    """Report as one self-contained page, in Dutch.

    Parameters
    ----------
    drift : Drift

    Returns
    -------
    str
        Quotes answers of customers where terms emerge.
    """
    return _template().render(
        drift=drift,
        told=conclude(drift),
        sizes=[_size(drift.reference), _size(drift.new)],
        correction=_correction(drift),
        groups=[
            {"title": title, "kind": kind, **_chart(_ordered(drift.of_kind(kind)))}
            for kind, title in _TITLES.items()
            if drift.of_kind(kind)
        ],
        shares=[
            {"title": _SHARES[key][0], "of": _SHARES[key][1], "share": share}
            for key, share in _shares(drift).items()
        ],
        excerpts={
            term.term: [_excerpt(drift.examples[row], term) for row in term.rows]
            for term in drift.emerging
        },
        nothing=f"{_NOTHING}: {_ABOUT_NOTHING}."
        if any(_NOTHING in share for label in drift.labels for share in label_shares(label))
        else "",
        reading=_READING,
        strange=drift.vocabulary.beyond_chance and drift.vocabulary.excess >= STRANGE,
    )


def _chart(labels: Sequence[LabelDrift]) -> dict[str, Any]:
    """Rows with the places of their bars, in percent of the width, and the ends of the axis."""
    top = max(figure.high for label in labels for figure in label.shares)
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.25) if top <= 4 * s or s == 0.25)
    end = step * -(-top // step) or step
    ticks = [step * i for i in range(round(end / step) + 1)]
    return {
        "rows": [
            {
                "label": label,
                "shares": list(zip(label.shares, label_shares(label), strict=True)),
                "bars": [
                    {
                        "left": round(100 * figure.low / end, 2),
                        "width": round(100 * (figure.high - figure.low) / end, 2),
                        "at": round(100 * figure.value / end, 2),
                    }
                    for figure in label.shares
                ],
            }
            for label in labels
        ],
        "ticks": [{"at": round(100 * tick / end, 2), "share": tick} for tick in ticks],
    }


def _excerpt(text: str, term: EmergingTerm) -> str:
    """The part of an answer around a term."""
    text = " ".join(text.split())
    words = text.split(" ")
    wanted = term.term.split(" ")[0]
    at = next((i for i, word in enumerate(words) if wanted in normalise(word)), 0)
    start = max(len(" ".join(words[:at])) - _EXCERPT // 2, 0)
    part = text[start : start + _EXCERPT]
    if start:
        part = "…" + re.sub(r"^\S*\s", "", part)
    return re.sub(r"\s\S*$", "", part) + "…" if start + _EXCERPT < len(text) else part


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("druppel", "resources"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, points=points, count=count, bits=_bits, decimal=decimal
    )
    environment.globals.update(arrows=_ARROWS, reasons=_REASONS, titles=_TITLES)
    return environment.get_template("drift.html.j2")
