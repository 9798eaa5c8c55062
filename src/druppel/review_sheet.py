"""Review sheets: answers with labels in a workbook, out to an analyst and back.

What is read is found by headings, so columns may be moved, added and sorted. A row counts when it
was checked or when its labels are no longer those that were written, which a hidden column with
their fingerprint tells. What is wrong is told cell by cell; it never holds the customer's words.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import textwrap
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from druppel.corpus import GoldAspect, text_digest
from druppel.corrections import PARTS, TRAINING, Conflict, Decision, now, text_key
from druppel.errors import InputError
from druppel.output import table_columns
from druppel.reading import open_table
from druppel.result import POLARITIES, SENTIMENTS, Result
from druppel.review import MOST_CHARACTERS, QueueItem, as_result, n_units
from druppel.tables import ERROR, Table, find_text_column, format_of, parse_score, whole_text
from druppel.taxonomy import Taxonomy
from druppel.writing import atomic

REVIEW_SHEET, CONFLICT_SHEET = "Beoordelen", "Conflicten"
EXPLANATION_SHEET, CATEGORY_SHEET, LIST_SHEET = "Uitleg", "Categorieën", "Lijsten"

NUMBER, REASON, PART = "nr", "reden", "deel"
QUESTION, SCORE, TEXT = "vraag", "cijfer", "tekst"
CHECKED, SENTIMENT, REMARK = "gecontroleerd", "sentiment", "opmerking"
LABEL, POLARITY, EVIDENCE, SIGNAL = "label", "polariteit", "bewijs", "signaal"
ANALYST, DECIDES, WHOSE, DATE = "analist", "besluit", "oordeel van", "datum"
_FINGERPRINT = "vingerafdruk"
_HEADINGS = frozenset(
    (NUMBER, REASON, PART, QUESTION, SCORE, TEXT, CHECKED, SENTIMENT, REMARK, ANALYST, DECIDES)
    + (WHOSE, DATE, _FINGERPRINT)
)
_NUMBERED = re.compile(rf"({LABEL}|{POLARITY}|{EVIDENCE}|{SIGNAL}) ?([1-9]\d?)")

YES, NO = "ja", "nee"
_BEST_SCORE, _DECIMALS = 10, 9
_YES = frozenset((YES, "j", "x", "yes", "y", "true", "waar", "1", "✓", "✔"))
_NO = frozenset((NO, "n", "no", "false", "onwaar", "0"))


# --- out ----------------------------------------------------------------------------------

_N_LABELS, _N_SIGNALS = 5, 3  # columns; more where an answer has more
_SPARE_ROWS = 100  # empty rows with drop-down lists below the answers
_COLOURS = {"neg": "#B3261E", "pos": "#1B7A3D", "neu": "#1F5FA8"}
_SEVERAL = "#7B2D8B"  # words that are evidence of more than one polarity
_HEAD, _HEAD_FILL_IN, _LINE = "#5F6B76", "#1F4E79", "#D5DADF"
_DONE, _MISSING, _OTHER = "#E7F4E8", "#FFD9A8", "#F4F6F8"
_WIDTHS = {
    NUMBER: 5,
    REASON: 28,
    PART: 9,
    QUESTION: 24,
    SCORE: 7,
    TEXT: 68,
    CHECKED: 15,
    DECIDES: 10,
    WHOSE: 15,
    DATE: 12,
    SENTIMENT: 12,
    LABEL: 31,
    POLARITY: 12,
    EVIDENCE: 30,
    SIGNAL: 22,
    REMARK: 32,
    ANALYST: 14,
    _FINGERPRINT: 40,
}
_EXTRA_WIDTH = 28
_LINE_HEIGHT, _HIGHEST_ROW = 15, 409
_FILL_IN = frozenset(
    (CHECKED, DECIDES, SENTIMENT, LABEL, POLARITY, EVIDENCE, SIGNAL, REMARK, ANALYST)
)
# A cell holds no control characters, and calamine does not undo how rich text writes "_x0041_".
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_ESCAPE = re.compile(r"_x[0-9A-Fa-f]{4}_")

_ABOUT_LABELS = (
    ("label", "Kies het uit de lijst. Op het blad Categorieën staat wat elk label betekent."),
    (
        "polariteit",
        "Verplicht naast elk label. neg: de klant ergert zich; pos: de klant is er blij mee, dus "
        "het tegendeel van wat de naam zegt; neu: alleen genoemd.",
    ),
    (
        "bewijs",
        "De woorden uit de tekst waaruit het label blijkt, letterlijk overgenomen. Mag leeg "
        "blijven.",
    ),
    ("sentiment", "Verplicht. Over het hele antwoord: negatief, positief, neutraal of gemengd."),
    ("signaal", "Vertrekt de klant, raadt hij aan of af, dreigt hij? Meestal blijft dit leeg."),
)
_ORANGE = (
    "oranje cel",
    "Daar ontbreekt nog iets, of het label staat niet in de lijst. Staat er alleen een categorie, "
    "kies dan een label dat daaronder valt.",
)
_FREEDOM = (
    "verder",
    "Sorteren, filteren en kolommen verplaatsen mag. Sorteer altijd het hele blad, en laat de "
    "tekst zoals hij is.",
)
_ADD = "Bewaar het bestand en voer uit: druppel corrections add BESTAND"
_HOW_TO_REVIEW = (
    (
        "lezen",
        "Lees de tekst. De labels ernaast zijn een voorstel. De woorden waarop ze steunen zijn "
        "vet: rood is ergernis, groen is lof, blauw is neutraal, paars is meer dan een daarvan.",
    ),
    (
        "gecontroleerd",
        "Klopt alles? Kies ja. Klopt er iets niet? Verander het; een rij waarin iets veranderd is "
        "telt ook zonder ja mee. Met nee telt een rij nooit mee.",
    ),
    (
        "labels wijzigen",
        "Weghalen: maak de cel van het label leeg. Toevoegen: vul het volgende lege label in. Past "
        "er geen enkel label? Laat ze alle leeg en kies ja.",
    ),
    *_ABOUT_LABELS,
    _ORANGE,
    (
        "deel",
        "Rijen met 'meting' zijn willekeurig gekozen om eerlijk te meten hoe goed het model is. "
        "Sla ze niet over, ook als ze saai zijn.",
    ),
    _FREEDOM,
    ("klaar", _ADD),
)
_HOW_TO_FILL = (
    ("tekst", "Eén antwoord van een klant per rij. Plak alleen de tekst, zonder opmaak."),
    (
        "vraag, cijfer",
        "De vraag waarop de klant antwoordde en het cijfer (0 tot 10) dat hij gaf, als die bekend "
        "zijn.",
    ),
    (
        "gecontroleerd",
        "Een rij met labels telt mee. Past er geen enkel label, kies dan ja. Met nee telt een rij "
        "niet mee.",
    ),
    *_ABOUT_LABELS,
    _ORANGE,
    ("klaar", _ADD),
)
_HOW_TO_SETTLE = (
    (
        "wat is dit",
        "Over elke tekst hier is verschillend geoordeeld. Elk oordeel heeft een rij.",
    ),
    ("besluit", "Kies ja bij het oordeel dat moet gelden: bij elke tekst hoogstens één."),
    (
        "geen van beide",
        "Verbeter dan de labels in een van de rijen en kies daar ja. Zonder ja blijft een tekst "
        "buiten beschouwing.",
    ),
    *_ABOUT_LABELS,
    _ORANGE,
    _FREEDOM,
    ("klaar", _ADD),
)


def write_sheet(
    path: str | Path,
    items: Sequence[QueueItem],
    taxonomy: Taxonomy,
    *,
    analyst: str = "",
    extra: Sequence[Mapping[str, str | float]] | None = None,
    blank_rows: int = 0,
) -> int:
    """Write a workbook in which a person mends labels.

    Parameters
    ----------
    path : str or Path
    items : sequence of QueueItem
        A row each, in this order.
    taxonomy : Taxonomy
        For the drop-down lists and the sheet that explains the categories.
    analyst : str, optional
        Who is to fill it in; it then has a column with that name.
    extra : sequence of mapping, optional
        More columns, by heading, for each item; `read_sheet` passes over them.
    blank_rows : int, default=0
        Rows to fill in below the items; without any items, the sheet has no columns about them.

    Returns
    -------
    int
        Items that were left out because a cell does not hold so long a text.

    Raises
    ------
    InputError
        If the file cannot be written.
    ValueError
        If there are not as many `extra` as items, or one has a heading of ours.
    """
    more = extra or [{}] * len(items)
    if len(more) != len(items):
        msg = f"{len(items)} items and {len(more)} extra rows."
        raise ValueError(msg)
    added = list(dict.fromkeys(heading for row in more for heading in row))
    if taken := [h for h in added if _heading(h) in _HEADINGS or _NUMBERED.fullmatch(_heading(h))]:
        msg = f"An extra column cannot be called {taken[0]!r}."
        raise ValueError(msg)
    labels = _Labels(taxonomy)
    rows = []
    for number, (item, columns) in enumerate(zip(items, more, strict=True), start=1):
        text = cell_text(item.text)
        if n_units(text) > MOST_CHARACTERS:
            continue
        question = cell_text(item.question or "")
        cells = _cells(item.result)
        filled = {
            NUMBER: number,
            REASON: item.reason,
            PART: item.part,
            QUESTION: question,
            SCORE: item.score,
            TEXT: text,
            ANALYST: analyst,
            **columns,
            **cells,
            _FINGERPRINT: _fingerprint(text_key(text, question), cells, labels),
        }
        rows.append(_Line(filled, _runs(item.text, item.result)))
    about = [NUMBER, REASON, PART, *added, QUESTION, SCORE, TEXT]
    headings = [
        *(about if items else [QUESTION, SCORE, TEXT]),
        CHECKED,
        SENTIMENT,
        *_numbered(rows, taxonomy),
        *([ANALYST] if analyst else []),
        REMARK,
        *([_FINGERPRINT] if items else []),
    ]
    _write(
        Path(path),
        REVIEW_SHEET,
        headings,
        rows,
        taxonomy,
        how_to=_HOW_TO_REVIEW if items else _HOW_TO_FILL,
        n_spare=blank_rows or _SPARE_ROWS,
    )
    return len(items) - len(rows)


def write_conflicts(path: str | Path, conflicts: Sequence[Conflict], taxonomy: Taxonomy) -> int:
    """Write a workbook in which a person settles what analysts disagree about.

    Each decision has a row; those about one text stand together. `read_sheet` gives those where
    the column `besluit` says ja.

    Parameters
    ----------
    path : str or Path
    conflicts : sequence of Conflict
    taxonomy : Taxonomy

    Returns
    -------
    int
        Conflicts that were left out because a cell does not hold so long a text.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    rows = []
    left_out = 0
    for number, conflict in enumerate(conflicts, start=1):
        if any(n_units(cell_text(d.text)) > MOST_CHARACTERS for d in conflict.decisions):
            left_out += 1
            continue
        for decision in conflict.decisions:
            result = as_result(decision, taxonomy)
            filled = {
                NUMBER: number,
                WHOSE: decision.analyst,
                DATE: decision.date[:10],
                PART: decision.part,
                QUESTION: cell_text(decision.question or ""),
                SCORE: decision.score,
                TEXT: cell_text(decision.text),
                REMARK: cell_text(decision.remark or ""),
                **_cells(result),
            }
            rows.append(_Line(filled, _runs(decision.text, result), shaded=number % 2 == 0))
    about = [NUMBER, WHOSE, DATE, PART, QUESTION, SCORE, TEXT]
    headings = [*about, DECIDES, SENTIMENT, *_numbered(rows, taxonomy), REMARK]
    _write(Path(path), CONFLICT_SHEET, headings, rows, taxonomy, how_to=_HOW_TO_SETTLE, n_spare=0)
    return left_out


def cell_text(text: str) -> str:
    r"""Text as a cell can hold it: one kind of line end, no control characters.

    Examples
    --------
    >>> cell_text("Eén\r\ntwee")
    'Eén\ntwee'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", text if text.isascii() else whole_text(text))


@dataclass(frozen=True)
class _Line:
    """A row to write: its cells by heading, and its text in pieces of one polarity each."""

    cells: Mapping[str, Any]
    runs: Sequence[tuple[str, str]]
    shaded: bool = False


def _cells(result: Result) -> dict[str, str]:
    """Labels of a result by heading."""
    cells = {SENTIMENT: result.sentiment.label if result.sentiment else ""}
    for i, a in enumerate(result.aspects, start=1):
        cells[f"{LABEL} {i}"] = "/".join(filter(None, (a.category, a.leaf)))
        cells[f"{POLARITY} {i}"] = a.polarity
        cells[f"{EVIDENCE} {i}"] = cell_text(a.evidence)
    for i, s in enumerate(result.signals, start=1):
        cells[f"{SIGNAL} {i}"] = s.signal
    return cells


def _numbered(rows: Sequence[_Line], taxonomy: Taxonomy) -> list[str]:
    """Headings of labels and signals, as many as the fullest row needs."""

    def most(kind: str, least: int) -> int:
        used = (sum(h.startswith(f"{kind} ") for h in row.cells) for row in rows)
        return max(least, *used, 0)

    labels = range(1, most(LABEL, _N_LABELS) + 1)
    signals = range(1, most(SIGNAL, _N_SIGNALS if taxonomy.signals else 0) + 1)
    return [
        *(f"{kind} {i}" for i in labels for kind in (LABEL, POLARITY, EVIDENCE)),
        *(f"{SIGNAL} {i}" for i in signals),
    ]


def _runs(text: str, result: Result) -> list[tuple[str, str]]:
    """Cut a text into pieces as (polarity, piece); "" where it is no evidence."""
    marks: list[set[str]] = [set() for _ in text]
    for a in result.aspects:
        for at in range(max(a.start, 0), min(a.end, len(text))):
            marks[at].add(a.polarity)
    runs: list[tuple[str, str]] = []
    for polarities, group in itertools.groupby(zip(marks, text, strict=True), key=lambda x: x[0]):
        piece = cell_text("".join(ch for _, ch in group))
        if runs and not piece.strip():  # some programs lose a piece of white space alone
            runs[-1] = (runs[-1][0], runs[-1][1] + piece)
        else:
            runs.append(("+".join(sorted(polarities)), piece))
    return runs


class _Pen:
    """Writes one workbook."""

    def __init__(self, workbook: Any, taxonomy: Taxonomy) -> None:
        self.workbook = workbook
        self._taxonomy = taxonomy
        self._made: dict[tuple[tuple[str, Any], ...], Any] = {}
        self.ranges: dict[str, str] = {}

    def format(self, **properties: Any) -> Any:
        """A cell format; the same properties make the same one."""
        key = tuple(sorted(properties.items()))
        if key not in self._made:
            self._made[key] = self.workbook.add_format(properties)
        return self._made[key]

    def cell(self, **properties: Any) -> Any:
        """Format of a cell with text: it stays text when it is typed anew."""
        base = {"text_wrap": True, "valign": "top", "border": 1, "border_color": _LINE}
        return self.format(**base, **{"num_format": "@", **properties})

    def head(self, colour: str = _HEAD) -> Any:
        """Format of a heading."""
        return self.format(
            bold=True,
            font_color="#FFFFFF",
            bg_color=colour,
            text_wrap=True,
            valign="vcenter",
            border=1,
            border_color=_LINE,
        )

    def lists(self, sheet: Any) -> None:
        """Fill the hidden sheet with what the drop-down lists offer."""
        offered = {
            LABEL: [f"{leaf.parent}/{leaf.slug}" for leaf in self._taxonomy.leaves],
            POLARITY: POLARITIES,
            SENTIMENT: SENTIMENTS,
            SIGNAL: [signal.slug for signal in self._taxonomy.signals],
            CHECKED: (YES, NO),
            PART: PARTS,
        }
        for column, (kind, values) in enumerate(offered.items()):
            sheet.write_string(0, column, kind, self.head())
            sheet.set_column(column, column, 34 if kind == LABEL else 16)
            for row, value in enumerate(values, start=1):
                sheet.write_string(row, column, value)
            letter = _letter(column)
            self.ranges[kind] = f"{LIST_SHEET}!${letter}$2:${letter}${len(values) + 1}"
        self.ranges[DECIDES] = self.ranges[CHECKED]
        if not self._taxonomy.signals:
            del self.ranges[SIGNAL]
        sheet.hide()

    def text(self, sheet: Any, row: int, column: int, line: _Line, **properties: Any) -> None:
        """Write a text with its evidence marked."""
        runs = line.runs
        plain = self.cell(**properties)
        marked = [self.format(**_mark(name)) if name else None for name, _ in runs]
        words = "".join(piece for _, piece in runs)
        if words != line.cells[TEXT]:  # a mark would cut a character in two
            runs = []
        if len(runs) > 1 and any(marked) and not _ESCAPE.search(words):
            pieces: list[Any] = []
            for mark, (_, piece) in zip(marked, runs, strict=True):
                pieces += [mark, piece] if mark else [piece]
            sheet.write_rich_string(row, column, *pieces, plain)
            return
        if len(runs) == 1 and runs[0][0]:
            plain = self.cell(**properties, **_mark(runs[0][0]))
        sheet.write_string(row, column, line.cells[TEXT], plain)

    def table(self, sheet: Any, headings: Sequence[str], widths: Sequence[int]) -> None:
        """Begin a sheet to read."""
        for column, (heading, width) in enumerate(zip(headings, widths, strict=True)):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, heading, self.head())
        sheet.freeze_panes(1, 0)
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)

    def explanation(self, sheet: Any, lines: Sequence[tuple[str, str]]) -> None:
        """Write how to fill the sheet in."""
        widths = (20, 105)
        self.table(sheet, ("waarover", "hoe"), widths)
        for row, (about, how) in enumerate(lines, start=1):
            sheet.set_row(row, _height((about, how), widths))
            sheet.write_string(row, 0, about, self.cell(bold=True))
            sheet.write_string(row, 1, how, self.cell())

    def categories(self, sheet: Any) -> None:
        """Write what the labels and signals mean."""
        headings = ("label", "naam", "wat het is", "wat het niet is", "voorbeelden")
        widths = (36, 28, 58, 48, 58)
        self.table(sheet, headings, widths)
        taxonomy = self._taxonomy
        row = 0

        def line(first: str, label: Any, **properties: Any) -> None:
            nonlocal row
            row += 1
            examples = "\n".join(f"– {example}" for example in label.examples)
            texts = (first, label.name_nl, label.definition, label.counter_definition, examples)
            sheet.set_row(row, _height(texts, widths))
            for column, text in enumerate(texts):
                sheet.write_string(row, column, cell_text(text), self.cell(**properties))

        for category in taxonomy.categories:
            line(category.slug, category, bold=True, bg_color="#E3EAF1")
            for leaf in taxonomy.leaves:
                if leaf.parent == category.slug:
                    line(f"{category.slug}/{leaf.slug}", leaf)
        for signal in taxonomy.signals:
            line(f"signaal: {signal.slug}", signal, bg_color="#FBF3E2")
        sheet.autofilter(0, 0, max(row, 1), len(headings) - 1)


def _mark(name: str) -> dict[str, Any]:
    """How evidence looks."""
    return {"bold": True, "font_color": _COLOURS.get(name, _SEVERAL)}


def _write(
    path: Path,
    title: str,
    headings: list[str],
    rows: Sequence[_Line],
    taxonomy: Taxonomy,
    *,
    how_to: Sequence[tuple[str, str]],
    n_spare: int,
) -> None:
    import xlsxwriter

    # In memory, so that a full disk is told of by what writes the file.
    content = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    with xlsxwriter.Workbook(content, options) as workbook:
        pen = _Pen(workbook, taxonomy)
        names = (title, EXPLANATION_SHEET, CATEGORY_SHEET, LIST_SHEET)
        main, explanation, categories, lists = map(workbook.add_worksheet, names)
        pen.lists(lists)
        pen.explanation(explanation, how_to)
        pen.categories(categories)
        _write_main(pen, main, headings, rows, len(rows) + n_spare)
    try:
        with atomic(path) as stream:
            stream.write(content.getvalue())
    except OSError as error:
        msg = f"{path}: cannot be written ({error.strerror}). Close it in Excel and try again."
        raise InputError(msg) from None


def _write_main(
    pen: _Pen, sheet: Any, headings: list[str], rows: Sequence[_Line], n_rows: int
) -> None:
    """Write the sheet that is filled in."""
    kinds = [_kind(heading) for heading in headings]
    sheet.hide_gridlines(2)
    sheet.freeze_panes(1, 0)
    sheet.set_row(0, 32)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.set_print_scale(60)
    sheet.repeat_rows(0)
    for column, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
        hidden = {"hidden": True} if kind == _FINGERPRINT else {}
        form = "General" if kind == SCORE else "@"
        below = pen.format(num_format=form, text_wrap=True, valign="top")
        sheet.set_column(column, column, _WIDTHS.get(kind, _EXTRA_WIDTH), below, hidden)
        colour = _HEAD_FILL_IN if kind in _FILL_IN or not rows else _HEAD
        sheet.write_string(0, column, heading, pen.head(colour))
    widths = [_WIDTHS.get(kind, _EXTRA_WIDTH) for kind in kinds]
    for at, line in enumerate(rows, start=1):
        sheet.set_row(at, _height([line.cells.get(h) for h in headings], widths))
        look: dict[str, Any] = {"bg_color": _OTHER} if line.shaded else {}
        for column, (heading, kind) in enumerate(zip(headings, kinds, strict=True)):
            value = line.cells.get(heading)
            if kind == TEXT:
                pen.text(sheet, at, column, line, **look)
            elif isinstance(value, int | float):
                form = "0.00" if kind not in (NUMBER, SCORE) else "General"
                middle = {"align": "center", "num_format": form}
                sheet.write_number(at, column, value, pen.cell(**look, **middle))
            elif value:
                sheet.write_string(at, column, cell_text(value), pen.cell(**look))
            else:
                sheet.write_blank(at, column, None, pen.cell(**look))
    last = max(n_rows, 1)
    for at in range(len(rows) + 1, n_rows + 1):
        for column, kind in enumerate(kinds):
            form = "General" if kind == SCORE else "@"
            sheet.write_blank(at, column, None, pen.cell(num_format=form))
    sheet.autofilter(0, 0, last, len(headings) - 1)
    sheet.print_area(0, 0, len(rows) or last, len(headings) - 1)
    _offer(pen, sheet, headings, last)
    _warn(pen, sheet, headings, last)


def _offer(pen: _Pen, sheet: Any, headings: Sequence[str], last: int) -> None:
    """Put drop-down lists on the cells."""
    for column, heading in enumerate(headings):
        kind = _kind(heading)
        if kind == SCORE:
            rule = {"validate": "decimal", "criteria": "between", "minimum": 0, "maximum": 10}
            told = "Een cijfer van 0 tot 10."
        elif kind in pen.ranges:
            rule = {"validate": "list", "source": f"={pen.ranges[kind]}"}
            told = "Kies een waarde uit de lijst."
        else:
            continue
        # Names of labels may be typed too; what they mean is found out on reading.
        lenient = kind in (LABEL, SIGNAL)
        if lenient:
            told = "Dit staat niet in de lijst. Toch zo laten staan?"
        rule |= {"error_title": kind, "error_message": told}
        rule["error_type"] = "warning" if lenient else "stop"
        sheet.data_validation(1, column, last, column, rule)


def _warn(pen: _Pen, sheet: Any, headings: Sequence[str], last: int) -> None:
    """Colour rows that are done, and cells that miss something."""
    place = {heading: _letter(column) for column, heading in enumerate(headings)}
    decides = CHECKED if CHECKED in place else DECIDES
    missing = pen.format(bg_color=_MISSING)
    done = f'${place[decides]}2="{YES}"'

    def rule(heading: str, criteria: str) -> None:
        column = headings.index(heading)
        options = {"type": "formula", "criteria": criteria, "format": missing}
        sheet.conditional_format(1, column, last, column, options)

    for heading, letter in place.items():
        kind = _kind(heading)
        if kind in (LABEL, SIGNAL) and kind in pen.ranges:
            listed = f"COUNTIF({pen.ranges[kind]},${letter}2)"
            rule(heading, f'=AND(${letter}2<>"",{listed}=0)')
        elif kind == POLARITY:
            label = place[heading.replace(POLARITY, LABEL)]
            rule(heading, f'=AND(${label}2<>"",${letter}2="")')
    rule(SENTIMENT, f'=AND({done},${place[SENTIMENT]}2="")')
    green = {"type": "formula", "criteria": f"={done}", "format": pen.format(bg_color=_DONE)}
    sheet.conditional_format(1, 0, last, len(headings) - 1, green)


def _height(cells: Iterable[Any], widths: Iterable[int]) -> int:
    """Height in which the cells of a row show all their text; not all programs work that out."""
    lines = 1
    for cell, width in zip(cells, widths, strict=True):
        if isinstance(cell, str):
            wrapped = (len(textwrap.wrap(part, width)) or 1 for part in cell.split("\n"))
            lines = max(lines, sum(wrapped))
    return min(lines * _LINE_HEIGHT + 3, _HIGHEST_ROW)


def _kind(heading: str) -> str:
    """What a column of ours holds: its heading without number."""
    numbered = _NUMBERED.fullmatch(heading)
    return numbered[1] if numbered else heading


def _letter(column: int) -> str:
    from xlsxwriter.utility import xl_col_to_name

    return str(xl_col_to_name(column))


# --- back ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SheetRead:
    """What stood in a sheet.

    Attributes
    ----------
    decisions : list of Decision
        One for each row that counts and is right.
    problems : list of str
        One for each cell that is not: file, sheet, cell, heading and what to do. Its row is
        passed over.
    n_unreviewed : int
        Rows with a text that nobody checked or changed; of a sheet with conflicts, texts without
        a decision.
    notes : list of str
        What is worth knowing, but not wrong.
    """

    decisions: list[Decision] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    n_unreviewed: int = 0
    notes: list[str] = field(default_factory=list)


def read_sheet(
    path: str | Path,
    taxonomy: Taxonomy,
    *,
    analyst: str,
    default_source: str | None = None,
    all_rows: bool = False,
    text_column: str | None = None,
) -> SheetRead:
    """Read what a person decided in a workbook or CSV file.

    It may be a sheet that `write_sheet` or `write_conflicts` made, whatever was done to its
    columns and rows, or output of ``druppel label`` in which someone mended ``aspecten``,
    ``sentiment`` and ``signalen``.

    A row of a review sheet counts if ``gecontroleerd`` says ja, or its labels are not those that
    were written; never if it says nee. A row that was added by hand counts if it has labels. A
    row of labelled output counts if it has ja in a column ``gecontroleerd``.

    A row that counts must have a sentiment; only in a file without a column for it does nobody
    judge it, and decisions get None.

    Parameters
    ----------
    path : str or Path
    taxonomy : Taxonomy
    analyst : str
        Who decided, where the row's column ``analist`` does not say so.
    default_source : str, optional
        What decisions bear as their source; by default the name of the file.
    all_rows : bool, default=False
        Whether all labelled rows of labelled output count.
    text_column : str, optional
        Column of labelled output with the feedback, where that does not show.

    Returns
    -------
    SheetRead

    Raises
    ------
    InputError
        If the file cannot be read, or no sheet of it has the columns that are needed.

    Examples
    --------
    >>> import tempfile
    >>> from druppel.result import Result
    >>> from druppel.review import QueueItem
    >>> taxonomy = Taxonomy.load()
    >>> item = QueueItem("Prima.", None, None, Result(None, (), (), "nl", False, "m"), "nieuw")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "blad.xlsx"
    ...     _ = write_sheet(path, [item], taxonomy)
    ...     read_sheet(path, taxonomy, analyst="Noor").n_unreviewed
    1
    """
    path = Path(path)
    notes: list[str] = []
    grids, sheets = _open(path, notes)
    if not grids:
        seen = f" The sheets are: {', '.join(sheets)}." if sheets else ""
        msg = (
            f"{path}: no columns 'tekst' and 'label 1' (a review sheet) or 'aspecten' (labelled "
            f"output).{seen} Put back the row with the headings."
        )
        raise InputError(msg)
    reader = _Reader(_Labels(taxonomy), analyst, default_source or path.name, notes)
    for grid in grids:
        if grid.layout == _LABELLED:
            for text, prefix in grid.labelled_texts(taxonomy, text_column):
                reader.labelled(grid, text, prefix, all_rows=all_rows)
        elif DECIDES in grid.columns:
            reader.conflicts(grid)
        else:
            reader.review(grid)
    return reader.found()


_REVIEW, _LABELLED = "review", "labelled"
_ASPECTS, _PROOF, _SIGNALS = "aspecten", "bewijs", "signalen"
_ANY = 99  # more labels than a row has
_HEADER_ROWS = 20  # among the first so many, the headings are looked for
_LONGEST_SHOWN, _MOST_WORDS_SHOWN = 60, 6  # of a cell that is quoted
_MOMENTS = (date, datetime, time, timedelta)
_PLAIN_NUMBER = re.compile(r"[+-]?[\d.,]+%?")
# How an aspect of labelled output ends; what comes before it is its label.
_SAID = re.compile(r"\s*([^,;|\n][^;|\n]*?)\s*[:\s]\s*([a-z]+)\s*(?:[,;|\n]|$)", re.IGNORECASE)
_STORED = re.compile(r"([0-9a-f]+)-([0-9a-f]+)-(\d+)")
_SAME_SIGNS = {
    **dict.fromkeys("'’‘`´", "['’‘`´]"),
    **dict.fromkeys('"“”„', '["“”„]'),
    **dict.fromkeys("-–—", "[-–—]"),
    "…": r"(?:…|\.\.\.)",
}
_AROUND = " \t\n'\"“”„‘’.…"


@dataclass(frozen=True)
class _Grid:
    """A sheet, or a CSV file.

    Attributes
    ----------
    file, sheet : str
        For messages; a CSV file has no sheet.
    names : list of str
        Headings as they stand there.
    columns : dict of str to int
        Number of the column of each folded heading, the first where there are more.
    rows : list of (int, sequence)
        Number and cells of each row below the headings.
    """

    file: str
    sheet: str
    layout: str
    names: list[str]
    columns: dict[str, int]
    rows: list[tuple[int, list[Any]]]

    def place(self, row: int, heading: str) -> str:
        """Where a cell stands: file, sheet, cell and heading."""
        if not self.sheet:
            return f"{self.file}, row {row} ({heading})"
        return f"{self.file}, {self.sheet}!{_letter(self.columns[heading])}{row} ({heading})"

    @property
    def title(self) -> str:
        """File and sheet, for messages."""
        return f"{self.file}, {self.sheet}" if self.sheet else self.file

    def where(self, row: int) -> str:
        """Where a row stands, as decisions bear it."""
        return f"{self.sheet}!{row}" if self.sheet else str(row)

    def numbers(self, kind: str) -> list[int]:
        """Numbers that headings of a kind have, such as 1 to 5 for labels."""
        found = (_NUMBERED.fullmatch(heading) for heading in self.columns)
        return sorted(int(match[2]) for match in found if match and match[1] == kind)

    def labelled_texts(self, taxonomy: Taxonomy, name: str | None) -> list[tuple[str, str]]:
        """Columns with texts that were labelled, and what the names of theirs begin with."""
        several = [n for n in self.names if f"{_heading(n)}_{_ASPECTS}" in self.columns]
        if several and name is None:
            return [(n, f"{n}_") for n in several]
        if name in several:
            return [(name, f"{name}_")] if name else []
        ours = {*table_columns(taxonomy), CHECKED, ANALYST, ERROR}
        columns = [n for n in self.names if n and n not in ours]

        def rows() -> Iterator[dict[str, Any]]:
            for _, cells in self.rows:
                yield {n: cells[self.columns[_heading(n)]] for n in columns}

        found = find_text_column(Table(self.title, columns, "xlsx", rows), name)
        if _ASPECTS not in self.columns:
            msg = f"{self.title}: no column '{found}_{_ASPECTS}'. Name one that was labelled."
            raise InputError(msg)
        return [(found, "")]


def _open(path: Path, notes: list[str]) -> tuple[list[_Grid], list[str]]:
    """Return the sheets with headings of ours, and the names of all."""
    format = format_of(path)
    grids = []
    if format == "xlsx":
        sheets = _sheets(path)
        for name, cells in sheets:
            if grid := _grid(path.name, name, list(enumerate(cells, start=1))):
                grids.append(grid)
        return grids, [name for name, _ in sheets]
    if format == "jsonl":
        msg = f"{path}: corrections are read from a workbook or a CSV file. Save it as one."
        raise InputError(msg)
    with open_table(path, warn=notes.append) as table:
        rows = ([_unquoted(row.get(c)) for c in table.columns] for row in table.read())
        lines = list(enumerate(itertools.chain([table.columns], rows), start=1))
    grid = _grid(path.name, "", lines)
    return [grid] if grid else [], []


def _sheets(path: Path) -> list[tuple[str, list[list[Any]]]]:
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be opened ({error.strerror}). Check the path."
        raise InputError(msg) from None
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
        return [
            (name, workbook.get_sheet_by_name(name).to_python(skip_empty_area=False))
            for name in workbook.sheet_names
        ]
    except PasswordError:
        msg = f"{path}: protected with a password. Save it without one and try again."
        raise InputError(msg) from None
    except CalamineError:
        msg = f"{path}: not a spreadsheet, or damaged. Open it in Excel and save it again as xlsx."
        raise InputError(msg) from None


def _grid(file: str, sheet: str, lines: list[tuple[int, list[Any]]]) -> _Grid | None:
    """Find the headings of a sheet; None where it has none of ours."""
    for at, (_, cells) in enumerate(lines[:_HEADER_ROWS]):
        names = [" ".join(str(cell).split()) if cell is not None else "" for cell in cells]
        headings = list(map(_heading, names))
        has_labels = any(h.startswith(LABEL) and _NUMBERED.fullmatch(h) for h in headings)
        if TEXT in headings and has_labels:
            layout = _REVIEW
        elif any(h == _ASPECTS or h.endswith(f"_{_ASPECTS}") for h in headings):
            layout = _LABELLED
        else:
            continue
        columns: dict[str, int] = {}
        for number, heading in enumerate(headings):
            if heading:
                columns.setdefault(heading, number)
        rows = [
            (number, [*row, *[""] * (len(cells) - len(row))])
            for number, row in lines[at + 1 :]
            if any(cell not in ("", None) for cell in row)
        ]
        return _Grid(file, sheet, layout, names, columns, rows)
    return None


def _unquoted(cell: Any) -> Any:
    """Without the apostrophe that Druppel's CSV has before what looks like a formula."""
    if isinstance(cell, str) and cell[:1] == "'" and cell[1:2] in tuple("=+-@\t\r"):
        return cell if _PLAIN_NUMBER.fullmatch(cell[1:]) else cell[1:]
    return cell


class _Row:
    """A row's cells by heading."""

    def __init__(self, grid: _Grid, number: int, cells: Sequence[Any]) -> None:
        self._grid = grid
        self._cells = cells
        self.number = number

    def value(self, heading: str) -> Any:
        """Content of a cell; "" where there is none, or no such column."""
        column = self._grid.columns.get(heading)
        value = "" if column is None else self._cells[column]
        return "" if value is None else value

    def text(self, heading: str) -> str:
        """Content of a cell as text, with one kind of line end."""
        value = self.value(heading)
        if isinstance(value, bool):
            return YES if value else NO
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            value = int(value)
        text = str(value).replace("_x000D_\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
        return text if text.strip() else ""

    def word(self, heading: str) -> str:
        """Content of a cell with white space, also unbreakable, folded."""
        return " ".join(self.text(heading).split())

    def is_moment(self, heading: str) -> bool:
        """Whether a cell holds a date or time."""
        return isinstance(self.value(heading), _MOMENTS)

    def grade(self) -> float | None:
        """The customer's grade; None where there is none from 0 to 10."""
        score = parse_score(self.value(SCORE), _BEST_SCORE)
        return None if score is None else round(score, _DECIMALS)

    def place(self, heading: str) -> str:
        """Where a cell stands."""
        return self._grid.place(self.number, heading)


class _UnclearError(Exception):
    """A cell that cannot be understood."""


class _Labels:
    """Finds out which label people mean."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._names: dict[str, set[str]] = defaultdict(set)
        self._categories: dict[str, set[str]] = defaultdict(set)
        self._signals: dict[str, set[str]] = defaultdict(set)
        self._full = {leaf.slug: f"{leaf.parent}/{leaf.slug}" for leaf in taxonomy.leaves}
        self._slugs = {_folded(leaf.slug): leaf.slug for leaf in taxonomy.leaves}
        for category in taxonomy.categories:
            for name in (category.slug, category.name_nl):
                self._categories[_folded(name)].add(category.slug)
        names = taxonomy.names
        for leaf in taxonomy.leaves:
            owners = [leaf.parent or "", names.get(leaf.parent or "", "")]
            for name in (leaf.slug, leaf.name_nl):
                self._names[_folded(name)].add(leaf.slug)
                for owner in owners:
                    self._names[_folded(f"{owner}/{name}")].add(leaf.slug)
        for signal in taxonomy.signals:
            for name in (signal.slug, signal.name_nl):
                self._signals[_folded(name)].add(signal.slug)
        self.has_signals = bool(taxonomy.signals)

    def leaf(self, word: str, shown: str) -> str:
        """Slug of the leaf that `word` names; `shown` stands for it in messages.

        Raises
        ------
        _UnclearError
            If it names none or several.
        """
        key = _folded(word)
        if key in self._slugs:
            return self._slugs[key]
        if found := self._names.get(key):
            return self._only(found, shown)
        if owners := self._categories.get(key):
            under = [s for s, full in self._full.items() if full.partition("/")[0] in owners]
            if len(under) == 1:
                return under[0]
            listed = ", ".join(self._full[s] for s in under)
            msg = f"{shown} is a category. Choose one of its labels: {listed}"
            raise _UnclearError(msg)
        close = get_close_matches(key, self._names, n=1)
        if not close:
            # The category may be what is wrong: "telefoon/keuzemenu".
            close = get_close_matches(key.rpartition("/")[2], self._names, n=1)
        hint = f"; did you mean {self._full[min(self._names[close[0]])]!r}?" if close else "."
        msg = f"unknown label {shown}{hint}"
        raise _UnclearError(msg)

    def signal(self, word: str, shown: str) -> str:
        """Slug of the signal that `word` names.

        Raises
        ------
        _UnclearError
            If it names none or several.
        """
        key = _folded(word)
        if found := self._signals.get(key):
            return self._only(found, shown)
        close = get_close_matches(key, self._signals, n=1)
        hint = f"; did you mean {min(self._signals[close[0]])!r}?" if close else "."
        msg = f"unknown signal {shown}{hint}"
        raise _UnclearError(msg)

    def is_name(self, word: str) -> bool:
        """Whether a leaf or category is called so."""
        return _folded(word) in self._names or _folded(word) in self._categories

    def key(self, word: str) -> str:
        """What two ways to write one label have in common, whether it exists or not."""
        found = self._names.get(_folded(word), set())
        return min(found) if len(found) == 1 else _folded(word).rpartition("/")[2]

    def _only(self, found: set[str], shown: str) -> str:
        if len(found) > 1:
            listed = ", ".join(sorted(self._full.get(s, s) for s in found))
            msg = f"{shown} is the name of several: {listed}. Choose one"
            raise _UnclearError(msg)
        return next(iter(found))


@dataclass(frozen=True)
class _Said:
    """An aspect as it stands in a row: what was written, and in which columns."""

    label: str
    polarity: str
    evidence: str
    columns: tuple[str, str, str]


class _Reader:
    """Gathers decisions and what is wrong."""

    def __init__(self, labels: _Labels, analyst: str, source: str, notes: list[str]) -> None:
        self._labels = labels
        self._analyst = analyst
        self._source = source
        self._date = now()
        self._decisions: list[Decision] = []
        self._problems: list[str] = []
        self._notes = notes
        self._n_unreviewed = 0
        self._first: dict[tuple[str, str], Decision] = {}

    def found(self) -> SheetRead:
        """What was read."""
        return SheetRead(self._decisions, self._problems, self._n_unreviewed, self._notes)

    # --- layouts ---

    def review(self, grid: _Grid) -> None:
        """Read a sheet of `write_sheet`."""
        if not self._is_whole(grid):
            return
        rows = [_Row(grid, number, cells) for number, cells in grid.rows]
        strayed = _strayed(rows)
        written = {NUMBER, REASON, PART} & set(grid.columns)
        no_trace = bool(written) and _FINGERPRINT not in grid.columns
        n_edited = n_lost = 0
        for row in rows:
            filled = any((*self._said(grid, row), *self._marked(grid, row), row.text(SENTIMENT)))
            checked = self._yes_or_no(row, CHECKED)
            if not row.text(TEXT):
                if filled or checked:
                    self._amiss(row, TEXT, "no text beside the labels. Put it back")
                continue
            if row.word(CHECKED) and checked is None:
                continue
            stored = _STORED.fullmatch(row.word(_FINGERPRINT))
            if checked is None and stored:
                counts = _digest_of_cells(self._written(grid, row), self._labels) != stored[2]
            elif checked is None and (no_trace or row.text(REASON)):
                # It came with labels, and what they were is gone.
                n_lost += filled
                counts = False
            else:
                counts = filled if checked is None else checked
            if not counts:
                self._n_unreviewed += 1
                continue
            if row.number in strayed:
                why = "this text belongs to another row. Were some columns sorted without the rest?"
                self._amiss(row, TEXT, f"{why} Sort whole rows")
                continue
            n_edited += bool(stored and stored[1] != _key_of(row))
            self._decide_row(grid, row, int(stored[3]) if stored else 0)
        place = grid.title
        if n_edited:
            self._notes.append(
                f"{place}: {n_edited} texts or questions were changed by hand; each counts as a "
                "text of its own."
            )
        if n_lost:
            self._notes.append(
                f"{place}: in {n_lost} rows it no longer shows whether labels were changed (the "
                f"hidden column {_FINGERPRINT!r} is gone). They count with {YES} in {CHECKED!r}."
            )

    def conflicts(self, grid: _Grid) -> None:
        """Read a sheet of `write_conflicts`."""
        if not self._is_whole(grid):
            return
        by_key: dict[str, list[tuple[_Row, bool | None]]] = defaultdict(list)
        for number, cells in grid.rows:
            row = _Row(grid, number, cells)
            decides = self._yes_or_no(row, DECIDES)
            if row.text(TEXT):
                by_key[_key_of(row)].append((row, decides))
            elif decides:
                self._amiss(row, TEXT, "no text beside the labels. Put it back")
        for group in by_key.values():
            chosen = [row for row, decides in group if decides]
            if len(chosen) > 1:
                others = ", ".join(str(row.number) for row in chosen)
                self._amiss(
                    chosen[1], DECIDES, f"{YES} in rows {others}, all of one text. Keep one"
                )
            elif chosen:
                self._decide_row(grid, chosen[0], _ANY, settles=True)
            else:
                self._n_unreviewed += 1

    def labelled(self, grid: _Grid, text_name: str, prefix: str, *, all_rows: bool) -> None:
        """Read labelled output whose labels were mended by hand."""
        if CHECKED not in grid.columns and not all_rows:
            self._problems.append(
                f"{grid.title}: which rows were checked? Add a column {CHECKED!r} with {YES} in "
                "them, or say that all were (--all-rows)."
            )
            return
        ours = {name: _heading(prefix + name) for name in (SENTIMENT, _ASPECTS, _PROOF, _SIGNALS)}
        text_column = _heading(text_name)
        heading = text_name.strip() if text_name.rstrip().endswith("?") else None
        for number, cells in grid.rows:
            row = _Row(grid, number, cells)
            if not row.text(text_column):
                continue
            checked = self._yes_or_no(row, CHECKED)
            if row.word(CHECKED) and checked is None:
                continue
            # What got no labels, such as a text in another language, was not judged.
            judged = (
                row.text(ours[SENTIMENT]) or row.text(ours[_ASPECTS]) or row.text(ours[_SIGNALS])
            )
            if not (checked or (checked is None and all_rows and judged)):
                self._n_unreviewed += 1
                continue
            before = len(self._problems)
            words = re.split(r"[,;|\n]", row.text(ours[_SIGNALS]))
            self._decide(
                row,
                before,
                text=row.text(text_column),
                aspects=self._aspects(
                    row,
                    self._listed_aspects(row, ours[_ASPECTS], ours[_PROOF]),
                    row.text(text_column),
                    0,
                ),
                sentiment=self._sentiment(row, ours[SENTIMENT]),
                signals=self._signals(
                    row,
                    [(" ".join(w.split()), ours[_SIGNALS]) for w in words if w.strip()],
                    row.text(text_column),
                ),
                question=row.text(QUESTION) or heading,
                score=row.grade(),
                where=grid.where(row.number),
            )

    # --- what stands in a row ---

    def _is_whole(self, grid: _Grid) -> bool:
        """Whether each label has its polarity, and the numbers stand for one column each."""
        ours = [h for h in map(_heading, grid.names) if h in _HEADINGS or _NUMBERED.fullmatch(h)]
        for heading, count in Counter(ours).items():
            if count > 1:
                self._notes.append(
                    f"{grid.title}: the heading {heading!r} stands {count} times; only the first "
                    "column was read."
                )
        gone = [n for n in grid.numbers(LABEL) if f"{POLARITY} {n}" not in grid.columns]
        if gone:
            self._problems.append(
                f"{grid.place(1, f'{LABEL} {gone[0]}')}: the column '{POLARITY} {gone[0]}' is "
                "gone. Put it back; nothing of this sheet was read."
            )
        return not gone

    def _said(self, grid: _Grid, row: _Row) -> list[_Said]:
        """Aspects of a row, as they stand there."""
        said = []
        for n in grid.numbers(LABEL):
            columns = (f"{LABEL} {n}", f"{POLARITY} {n}", f"{EVIDENCE} {n}")
            label, polarity = row.word(columns[0]), row.word(columns[1])
            evidence = row.text(columns[2])
            if label or polarity or evidence:
                said.append(_Said(label, polarity, evidence, columns))
        return said

    def _marked(self, grid: _Grid, row: _Row) -> list[tuple[str, str]]:
        """Signals of a row, as they stand there, with their columns."""
        headings = [f"{SIGNAL} {n}" for n in grid.numbers(SIGNAL)]
        return [(row.word(h), h) for h in headings if row.word(h)]

    def _written(self, grid: _Grid, row: _Row) -> dict[str, str]:
        """Cells whose fingerprint tells whether a row was changed."""
        kinds = (LABEL, POLARITY, EVIDENCE, SIGNAL)
        headings = [SENTIMENT, *(f"{kind} {n}" for kind in kinds for n in grid.numbers(kind))]
        return {heading: row.text(heading) for heading in headings}

    def _listed_aspects(self, row: _Row, column: str, proof: str) -> list[_Said]:
        """Aspects from a cell such as ``keuzemenu:neg, kwaliteit:pos``."""
        cell = re.sub(r"[^\S\n]+", " ", row.text(column)).strip(" ,;|\n")
        quotations = self._listed_evidence(row.text(proof))
        said, at = [], 0
        while at < len(cell):
            match = _SAID.match(cell, at)
            if match is None:
                self._amiss(row, column, "write each as label:neg, label:pos or label:neu")
                return []
            label, polarity = " ".join(match[1].split()), match[2]
            found = quotations.get(self._labels.key(label), [])
            evidence = found.pop(0) if found else ""
            said.append(_Said(label, polarity, evidence, (column, column, proof)))
            at = match.end()
        return said

    def _listed_evidence(self, cell: str) -> dict[str, list[str]]:
        """Quotations by label, from a cell such as ``keuzemenu: drie keer | kwaliteit: fijn``."""
        quotations: dict[str, list[str]] = defaultdict(list)
        last = ""
        for piece in cell.split(" | "):
            label, colon, words = piece.partition(": ")
            if colon and self._labels.is_name(label):
                last = self._labels.key(label)
                quotations[last].append(words)
            elif last:  # the quotation itself had a bar
                quotations[last][-1] += f" | {piece}"
        return quotations

    # --- one decision ---

    def _decide_row(self, grid: _Grid, row: _Row, n_written: int, *, settles: bool = False) -> None:
        """Check a row of a review sheet that counts, and keep what it says."""
        before = len(self._problems)
        text = row.text(TEXT)
        if row.is_moment(TEXT):
            self._amiss(row, TEXT, "a date, not a text. Type it as text")
        self._decide(
            row,
            before,
            text=text,
            aspects=self._aspects(row, self._said(grid, row), text, n_written),
            sentiment=self._sentiment(row, SENTIMENT) if SENTIMENT in grid.columns else None,
            signals=self._signals(row, self._marked(grid, row), text),
            question=row.text(QUESTION) or None,
            score=self._score(row),
            where=grid.where(row.number),
            part=self._part(row),
            remark=row.text(REMARK).strip() or None,
            settles=settles,
        )

    def _decide(self, row: _Row, before: int, **values: Any) -> None:
        """Keep a decision, unless something is amiss since there were `before` problems."""
        if len(self._problems) > before:
            return
        decision = Decision(
            **values,
            analyst=row.word(ANALYST) or self._analyst,
            date=self._date,
            source=self._source,
        )
        first = self._first.setdefault((decision.key, decision.analyst), decision)
        if first is decision:
            self._decisions.append(decision)
        elif first.labels != decision.labels:
            place = self._source if first.where == decision.where else first.where
            self._amiss(row, TEXT, f"the same text as in {place}, with other labels. Keep one")

    def _aspects(
        self, row: _Row, said: Iterable[_Said], text: str, n_written: int
    ) -> tuple[GoldAspect, ...]:
        aspects: dict[tuple[str, str], GoldAspect] = {}
        for aspect in said:
            of_label, of_polarity, of_evidence = aspect.columns
            if not aspect.label:
                number = _NUMBERED.fullmatch(of_label)
                # A label that was written and emptied was taken away, with what stands beside it.
                if number is None or int(number[2]) > n_written:
                    self._amiss(row, of_label, "no label beside what is filled in. Choose one")
                continue
            leaf = self._leaf(row, of_label, aspect.label, text)
            polarity = self._polarity(row, of_polarity, aspect.polarity)
            evidence = _quotation(aspect.evidence, text)
            if evidence is None or (aspect.evidence and row.is_moment(of_evidence)):
                self._amiss(
                    row,
                    of_evidence,
                    "these words are not in the text of this row. Copy them from it, or empty the "
                    "cell",
                )
            if leaf is None or polarity is None or evidence is None:
                continue
            if (leaf, polarity) in aspects:
                self._amiss(row, of_label, f"{leaf} {polarity} stands twice. Keep one")
                continue
            aspects[leaf, polarity] = GoldAspect(leaf, polarity, evidence or None)
        return tuple(aspects.values())

    def _leaf(self, row: _Row, column: str, word: str, text: str) -> str | None:
        try:
            return self._labels.leaf(word, _shown(word, text))
        except _UnclearError as error:
            self._amiss(row, column, str(error))
            return None

    def _signals(self, row: _Row, signals: Iterable[tuple[str, str]], text: str) -> tuple[str, ...]:
        found: list[str] = []
        for word, column in signals:
            try:
                signal = self._labels.signal(word, _shown(word, text))
            except _UnclearError as error:
                self._amiss(row, column, str(error))
                continue
            if signal in found:
                self._amiss(row, column, f"{signal} stands twice. Keep one")
            found.append(signal)
        return tuple(found)

    def _polarity(self, row: _Row, column: str, word: str) -> str | None:
        found = _beginning(word, POLARITIES, {"negatief": 0, "positief": 1, "neutraal": 2})
        if found is None:
            what = "not a polarity" if word else "no polarity beside the label"
            self._amiss(row, column, f"{what}. Choose {', '.join(POLARITIES)}")
        return found

    def _sentiment(self, row: _Row, column: str) -> str | None:
        word = row.word(column)
        found = _beginning(word, SENTIMENTS, {s[:3]: i for i, s in enumerate(SENTIMENTS)})
        if found is None:
            what = "not a sentiment" if word else "no sentiment"
            self._amiss(row, column, f"{what}. Choose {', '.join(SENTIMENTS)}")
        return found

    def _score(self, row: _Row) -> float | None:
        if not row.word(SCORE):
            return None
        score = row.grade()
        if score is None:
            self._amiss(row, SCORE, "not a grade from 0 to 10. Mend it or empty the cell")
        return score

    def _part(self, row: _Row) -> str:
        word = row.word(PART).lower()
        if word and word not in PARTS:
            self._amiss(row, PART, f"not one of {', '.join(PARTS)}")
        return word or TRAINING

    def _yes_or_no(self, row: _Row, column: str) -> bool | None:
        """What a cell says; None where it is empty or, which is told, says something else."""
        word = row.word(column).lower()
        if not word:
            return None
        if word not in _YES | _NO:
            self._amiss(row, column, f"neither {YES} nor {NO}. Choose one or empty the cell")
            return None
        return word in _YES

    def _amiss(self, row: _Row, column: str, what: str) -> None:
        self._problems.append(f"{row.place(column)}: {what.removesuffix('.')}{_stop(what)}")


def _stop(what: str) -> str:
    return "" if what.endswith("?") else "."


def _heading(name: str) -> str:
    """A heading as it is compared."""
    folded = " ".join(unicodedata.normalize("NFKC", str(name)).lower().split())
    numbered = _NUMBERED.fullmatch(folded.replace("_", " "))
    return f"{numbered[1]} {numbered[2]}" if numbered else folded


def _folded(word: str) -> str:
    """A label as it is compared: whatever its case, its spaces, and the sign between levels."""
    folded = unicodedata.normalize("NFKC", word).lower().replace("_", " ")
    return "/".join(" ".join(part.split()) for part in re.split(r"[/>]", folded))


def _beginning(word: str, allowed: Sequence[str], others: Mapping[str, int]) -> str | None:
    """The allowed word that is meant."""
    word = word.lower()
    if word in allowed:
        return word
    return allowed[others[word]] if word in others else None


def _shown(word: str, text: str) -> str:
    """A cell for a message: not where it may hold the customer's words."""
    long = len(word) > _LONGEST_SHOWN or len(word.split()) > _MOST_WORDS_SHOWN
    if long or _folded(word) in _folded(text):
        return "in this cell"
    return repr(word)


def _quotation(evidence: str, text: str) -> str | None:
    """Evidence as it literally stands in the text; "" for none, None where it is not there."""
    for words in (evidence, evidence.strip(_AROUND)):
        if not words.strip():
            return "" if not evidence.strip() else None
        if words in text:
            return words
        pattern = r"\s+".join(
            "".join(_SAME_SIGNS.get(ch, re.escape(ch)) for ch in part) for part in words.split()
        )
        if match := re.search(pattern, text, re.IGNORECASE):
            return match[0]
    return None


def _key_of(row: _Row) -> str:
    return text_key(row.text(TEXT), row.text(QUESTION))


def _strayed(rows: Sequence[_Row]) -> set[int]:
    """Numbers of rows whose text came from another row, as when columns are sorted apart."""
    stored = {row.number: _STORED.fullmatch(row.word(_FINGERPRINT)) for row in rows}
    written = Counter(match[1] for match in stored.values() if match)
    strayed = set()
    for row in rows:
        match = stored[row.number]
        if match and row.text(TEXT) and match[1] != _key_of(row) and written[_key_of(row)]:
            strayed.add(row.number)
    return strayed


def _fingerprint(key: str, cells: Mapping[str, str], labels: _Labels) -> str:
    """Of a row: which text, which labels, and how many."""
    n = sum(_kind(heading) == LABEL for heading in cells)
    return f"{key}-{_digest_of_cells(cells, labels)}-{n}"


def _digest_of_cells(cells: Mapping[str, str], labels: _Labels) -> str:
    """Fingerprint of labels in cells, whatever their order and the way they are written."""
    aspects, signals = [], []
    for heading, value in cells.items():
        word = " ".join(value.split())
        kind, _, number = heading.rpartition(" ")
        if kind == LABEL and word:
            polarity = cells.get(f"{POLARITY} {number}", "").strip().lower()[:3]
            evidence = " ".join(cells.get(f"{EVIDENCE} {number}", "").split())
            aspects.append((labels.key(word), polarity, evidence))
        elif kind == SIGNAL and word:
            signals.append(_folded(word))
    sentiment = " ".join(cells.get(SENTIMENT, "").split()).lower()
    return text_digest(json.dumps([sentiment, sorted(aspects), sorted(signals)]))
