import csv
import dataclasses
import re
import tempfile
import zipfile
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.cell.rich_text import CellRichText
from openpyxl.utils import get_column_letter

from druppel.corpus import GoldAspect
from druppel.corrections import MEASUREMENT, TRAINING, Conflict, Decision, text_key
from druppel.errors import InputError
from druppel.output import table_columns, to_row
from druppel.result import POLARITIES, SENTIMENTS, Aspect, Result, Sentiment
from druppel.review import QueueItem, as_result
from druppel.review_sheet import SheetRead, cell_text, read_sheet, write_conflicts, write_sheet
from druppel.taxonomy import Taxonomy
from druppel.writing import write_table

TEXT = "Lekker brood, maar een uur in de rij gestaan. Ik kom nooit meer!"


def decided(text=TEXT, aspects=None, sentiment="gemengd", signals=("weg",), **more):
    if aspects is None:
        aspects = (
            GoldAspect("eten", "pos", "Lekker brood"),
            GoldAspect("in_de_rij", "neg", "maar een uur in de rij gestaan."),
        )
    return Decision(text, aspects, sentiment, signals, **more)


def item(decision, taxonomy, reason="nieuw"):
    result = as_result(decision, taxonomy)
    return QueueItem(
        decision.text, decision.question, decision.score, result, reason, decision.part, 7
    )


def what(decision):
    """What a decision says, whoever said it and wherever."""
    names = ("text", "question", "score", "part", "sentiment", "signals", "remark", "settles")
    return {name: getattr(decision, name) for name in names} | {"aspects": set(decision.aspects)}


class Edit:
    """Change cells of the first sheet by heading and row, as a person would."""

    def __init__(self, path, row=1):
        self.path = path
        self.book = openpyxl.load_workbook(path, rich_text=True)
        self.sheet = self.book.worksheets[0]
        self.columns = {
            str(cell.value): cell.column for cell in self.sheet[row] if cell.value is not None
        }

    def __setitem__(self, at, value):
        heading, row = at
        self.sheet.cell(row, self.columns[heading]).value = value

    def letter(self, heading):
        return get_column_letter(self.columns[heading])

    def save(self):
        self.book.save(self.path)


def edit(path, cells):
    """Change cells; return the letters of their columns."""
    book = Edit(path)
    for at, value in cells.items():
        book[at] = value
    book.save()
    return {heading: book.letter(heading) for heading in book.columns}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "blad.xlsx"


@pytest.fixture
def two_taxonomy():
    """Two leaves of one name, and one that is called after two categories."""
    entry = (
        '[[label]]\nslug = "{}"\n{}name_nl = "{}"\nname_en = "x"\ndefinition = "x"\n'
        'counter_definition = ""\nexamples = []\nseeds = []\n'
    )
    parts = [
        entry.format("winkel", "", "Winkel"),
        entry.format("prijs_winkel", 'parent = "winkel"\n', "Prijs"),
        entry.format("sfeer", 'parent = "winkel"\n', "Sfeer en inrichting"),
        entry.format("webshop", "", "Webshop"),
        entry.format("prijs_web", 'parent = "webshop"\n', "Prijs"),
    ]
    return Taxonomy.parse("format = 1\n" + "\n".join(parts))


# --- out ----------------------------------------------------------------------------------


def test_the_workbook_has_what_a_person_needs(path, tiny_taxonomy):
    second = decided("Prima!", (), "positief", (), question="Wat ging goed?", score=8.5)
    items = [item(decided(part=MEASUREMENT), tiny_taxonomy), item(second, tiny_taxonomy)]
    assert write_sheet(path, items, tiny_taxonomy, analyst="Noor") == 0
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Beoordelen", "Uitleg", "Categorieën", "Lijsten"]
    assert book["Lijsten"].sheet_state == "hidden"
    sheet = book["Beoordelen"]
    rows = [dict(zip([c.value for c in sheet[1]], row, strict=True)) for row in sheet.values][1:]
    assert rows[0] | {"vingerafdruk": None} == {
        **dict.fromkeys(rows[0]),
        "nr": 1,
        "reden": "nieuw",
        "deel": "meting",
        "tekst": TEXT,
        "sentiment": "gemengd",
        "label 1": "smaak/eten",
        "polariteit 1": "pos",
        "bewijs 1": "Lekker brood",
        "label 2": "wachten/in_de_rij",
        "polariteit 2": "neg",
        "bewijs 2": "maar een uur in de rij gestaan.",
        "signaal 1": "weg",
        "analist": "Noor",
    }
    assert (rows[1]["vraag"], rows[1]["cijfer"]) == ("Wat ging goed?", 8.5)
    assert {"label 5", "bewijs 5", "signaal 3", "gecontroleerd", "opmerking"} <= set(rows[0])
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref.startswith("A1:")
    hidden = [name for name, d in sheet.column_dimensions.items() if d.hidden]
    assert [sheet[f"{name}1"].value for name in hidden] == ["vingerafdruk"]
    assert all(cell.alignment.wrap_text for cell in sheet[2])
    meanings = [row[0] for row in book["Categorieën"].values]
    assert meanings == [
        "label",
        *("wachten", "wachten/in_de_rij", "wachten/op_antwoord", "smaak", "smaak/eten"),
        "signaal: weg",
    ]
    assert 9 <= len(list(book["Uitleg"].values)) <= 14


def test_lists_to_choose_from(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    book = openpyxl.load_workbook(path)
    sheet = book["Beoordelen"]
    headings = {c.column_letter: c.value for c in sheet[1]}
    offered = {}
    for rule in sheet.data_validations.dataValidation:
        for cells in str(rule.sqref).split():
            letter = re.match("[A-Z]+", cells)[0]
            if rule.type == "list":
                name, _, area = rule.formula1.partition("!")
                values = [cell.value for (cell,) in book[name][area.replace("$", "")]]
                offered[headings[letter]] = values
                # Also for rows that are added below.
                assert int(re.search(r"\d+$", cells)[0]) > 50
    leaves = ["wachten/in_de_rij", "wachten/op_antwoord", "smaak/eten"]
    assert offered["label 1"] == offered["label 5"] == leaves
    assert offered["polariteit 3"] == list(POLARITIES)
    assert offered["sentiment"] == list(SENTIMENTS)
    assert offered["signaal 1"] == ["weg"]
    assert offered["gecontroleerd"] == ["ja", "nee"]


def test_lists_beyond_what_a_rule_holds(path):
    taxonomy = Taxonomy.load()
    write_sheet(path, [], taxonomy, blank_rows=500)
    book = openpyxl.load_workbook(path)
    rules = book["Beoordelen"].data_validations.dataValidation
    labels = [r for r in rules if r.formula1 == f"Lijsten!$A$2:$A${len(taxonomy.leaves) + 1}"]
    assert len(labels) == 5
    assert all(str(rule.sqref).endswith("501") for rule in labels)
    listed = [row[0] for row in book["Lijsten"].values][1:]
    assert listed[: len(taxonomy.leaves)] == [f"{x.parent}/{x.slug}" for x in taxonomy.leaves]


def marked(path, row=2):
    """Pieces of a text with their colour, None where they are not bold."""
    sheet = openpyxl.load_workbook(path, rich_text=True)["Beoordelen"]
    cell = sheet[f"{letters_of(path)['tekst']}{row}"]
    if not isinstance(cell.value, CellRichText):
        return [(cell.value, cell.font.color.rgb[2:] if cell.font.b else None)]
    fonts = [(str(part), getattr(part, "font", None)) for part in cell.value]
    return [(text, font.color.rgb[2:] if font and font.b else None) for text, font in fonts]


def test_evidence_is_marked_by_polarity(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    runs = marked(path)
    assert "".join(piece for piece, _ in runs) == TEXT
    assert [(piece.strip(), colour) for piece, colour in runs] == [
        ("Lekker brood", "1B7A3D"),
        (",", None),
        ("maar een uur in de rij gestaan.", "B3261E"),
        ("Ik kom nooit meer!", None),
    ]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        # All of it: no rich text, but a marked cell.
        ([(0, 5, "neg")], [("alles", "B3261E")]),
        ([(0, 2, "neg"), (2, 5, "pos")], [("al", "B3261E"), ("les", "1B7A3D")]),
        (
            [(0, 3, "neg"), (2, 5, "pos")],
            [("al", "B3261E"), ("l", "7B2D8B"), ("es", "1B7A3D")],
        ),
        ([(0, 3, "neu"), (1, 3, "neu")], [("all", "1F5FA8"), ("es", None)]),
        ([(0, 0, "neg")], [("alles", None)]),
        ([(3, 99, "pos")], [("all", None), ("es", "1B7A3D")]),
    ],
)
def test_spans_of_every_kind(path, tiny_taxonomy, spans, expected):
    aspects = tuple(Aspect("smaak", "eten", p, 0.9, a, b, "alles"[a:b]) for a, b, p in spans)
    result = Result(Sentiment("negatief", 0.0), aspects, (), "nl", False, "m")
    write_sheet(path, [QueueItem("alles", None, None, result, "x")], tiny_taxonomy)
    assert marked(path) == expected


@pytest.mark.parametrize("text", ["=1+1", "@SOM(A1)", "+31 6", "-5", "http://x.nl", "007", "{=1}"])
def test_text_stays_text(path, tiny_taxonomy, text):
    write_sheet(path, [item(decided(text, ()), tiny_taxonomy)], tiny_taxonomy)
    letters = edit(path, {})
    cell = openpyxl.load_workbook(path)["Beoordelen"][f"{letters['tekst']}2"]
    assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None)
    # Also when it is typed anew.
    assert cell.number_format == "@"


def test_a_text_that_no_cell_holds_is_left_out(path, tiny_taxonomy):
    texts = ["a" * 32_768, "🙂" * 16_384, "b" * 32_767, "prima"]
    items = [item(decided(text, ()), tiny_taxonomy) for text in texts]
    assert write_sheet(path, items, tiny_taxonomy) == 2
    assert read_sheet(path, tiny_taxonomy, analyst="x").n_unreviewed == 2
    many = [Conflict("k", (decided(texts[0]), decided(texts[0], signals=())))]
    assert write_conflicts(path, many, tiny_taxonomy) == 1


def test_as_many_columns_as_there_are_labels(path, tiny_taxonomy):
    leaves = [leaf.slug for leaf in tiny_taxonomy.leaves]
    aspects = tuple(GoldAspect(leaf, p, None) for leaf in leaves for p in POLARITIES)
    write_sheet(path, [item(decided(aspects=aspects), tiny_taxonomy)], tiny_taxonomy)
    edit(path, {("gecontroleerd", 2): "ja"})
    (decision,) = read_sheet(path, tiny_taxonomy, analyst="x").decisions
    assert set(decision.aspects) == set(aspects)
    assert len(aspects) == 9


def test_extra_columns(path, tiny_taxonomy):
    items = [item(decided(), tiny_taxonomy), item(decided("Prima."), tiny_taxonomy)]
    extra = [{"advies": "=kijk na", "winst": 0.25}, {"winst": 3}]
    write_sheet(path, items, tiny_taxonomy, extra=extra)
    sheet = openpyxl.load_workbook(path)["Beoordelen"]
    rows = [dict(zip([c.value for c in sheet[1]], row, strict=True)) for row in sheet.values]
    assert [(r["advies"], r["winst"]) for r in rows[1:3]] == [("=kijk na", 0.25), (None, 3)]
    assert read_sheet(path, tiny_taxonomy, analyst="x").n_unreviewed == 2
    with pytest.raises(ValueError, match="extra rows"):
        write_sheet(path, items, tiny_taxonomy, extra=extra[:1])
    with pytest.raises(ValueError, match="cannot be called"):
        write_sheet(path, items, tiny_taxonomy, extra=[{"Label_1": "x"}, {}])


def test_a_taxonomy_without_signals(path, two_taxonomy):
    write_sheet(path, [item(decided("Duur.", (), signals=()), two_taxonomy)], two_taxonomy)
    assert not [heading for heading in edit(path, {}) if "signaal" in heading]
    assert read_sheet(path, two_taxonomy, analyst="x").problems == []


# --- round trip ---------------------------------------------------------------------------

TINY_LEAVES = ("in_de_rij", "op_antwoord", "eten")
ODD = ["=1+1", "'", '"aangehaald"', "a\nb\n\nc", "  voor en na  ", "_x0041_ x", "10"]
ODD += ["\x00\x1f\ufffe", "a\r\nb\rc", "\ta\t", "<b>&amp;</b>", "\u2028\u00a0x", "x" * 9000]
ODD += ["😀👍🏽", "é" * 500]
words = st.text(min_size=1, max_size=60) | st.sampled_from(ODD)
grades = st.integers(0, 10) | st.decimals(0, 10, places=2).map(float)


@st.composite
def decisions(draw):
    text = draw(words)
    pairs = st.tuples(st.sampled_from(TINY_LEAVES), st.sampled_from(POLARITIES))
    aspects = []
    for leaf, polarity in draw(st.lists(pairs, unique=True, max_size=6)):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        aspects.append(GoldAspect(leaf, polarity, text[start:end] or None))
    return Decision(
        text=text,
        aspects=tuple(aspects),
        sentiment=draw(st.sampled_from(SENTIMENTS)),
        signals=draw(st.sampled_from([(), ("weg",)])),
        question=draw(st.none() | words),
        score=draw(st.none() | grades),
        part=draw(st.sampled_from([TRAINING, MEASUREMENT])),
    )


batches = st.lists(decisions(), min_size=1, max_size=5).filter(
    lambda batch: (
        len({text_key(cell_text(d.text), cell_text(d.question or "")) for d in batch}) == len(batch)
        and all(cell_text(d.text).strip() for d in batch)
    )
)


def put(path, cells):
    """Set cells of the first sheet in the XML itself, so that nothing else changes."""
    parts = zipfile.ZipFile(path)
    content = {name: parts.read(name) for name in parts.namelist()}
    parts.close()
    name = "xl/worksheets/sheet1.xml"
    xml = content[name].decode()
    for ref, value in cells.items():
        cell = re.compile(rf'<c r="{ref}"([^>]*?)(?: t="\w+")?(?:/>|>.*?</c>)', re.DOTALL)
        style = re.search(r's="\d+"', cell.search(xml)[1])[0]
        literal = re.sub(r"(_x[0-9A-Fa-f]{4}_)", r"_x005F\1", escape(value))
        text = f'<is><t xml:space="preserve">{literal}</t></is>'
        filled = f'<c r="{ref}" {style} t="inlineStr">{text}</c>'
        xml, count = cell.subn(lambda _, filled=filled: filled, xml, count=1)
        assert count == 1
    content[name] = xml.encode()
    with zipfile.ZipFile(path, "w") as parts:
        for part, data in content.items():
            parts.writestr(part, data)


def letters_of(path):
    sheet = openpyxl.load_workbook(path).worksheets[0]
    return {cell.value: cell.column_letter for cell in sheet[1]}


def normal(decision):
    """A decision as cells can hold it."""
    return what(
        dataclasses.replace(
            decision,
            text=cell_text(decision.text),
            question=(cell_text(decision.question or "").strip() and cell_text(decision.question))
            or None,
            aspects=tuple(
                dataclasses.replace(a, evidence=evidence if evidence.strip() else None)
                for a in decision.aspects
                for evidence in [cell_text(a.evidence or "")]
            ),
        )
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=batches)
def test_what_is_written_is_read_back(batch, tiny_taxonomy):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blad.xlsx"
        write_sheet(path, [item(d, tiny_taxonomy) for d in batch], tiny_taxonomy)
        untouched = read_sheet(path, tiny_taxonomy, analyst="Noor")
        checked = letters_of(path)["gecontroleerd"]
        put(path, {f"{checked}{row}": "ja" for row in range(2, 2 + len(batch))})
        found = read_sheet(path, tiny_taxonomy, analyst="Noor")
    assert untouched == SheetRead(n_unreviewed=len(batch))
    assert (found.problems, found.notes, found.n_unreviewed) == ([], [], 0)
    assert [what(d) for d in found.decisions] == [normal(d) for d in batch]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=batches, data=st.data())
def test_one_changed_cell_is_one_changed_row(batch, data, tiny_taxonomy):
    row = data.draw(st.integers(0, len(batch) - 1))
    decision = batch[row]
    kinds = ["sentiment", "signaal 1"]
    spare = sorted({(x, p) for x in TINY_LEAVES for p in POLARITIES} - decision.labels[0])
    if decision.aspects:
        kinds += ["label 1", "polariteit 1", "bewijs 1"]
    kind = data.draw(st.sampled_from(kinds))
    first = as_result(decision, tiny_taxonomy).aspects[:1]
    if kind == "sentiment":
        value = data.draw(st.sampled_from([s for s in SENTIMENTS if s != decision.sentiment]))
    elif kind == "signaal 1":
        value = "" if decision.signals else "weg"
    elif kind == "label 1":
        free = [leaf for leaf, polarity in spare if polarity == first[0].polarity]
        value = data.draw(st.sampled_from([*free, ""]))
    elif kind == "polariteit 1":
        free = [polarity for leaf, polarity in spare if leaf == first[0].leaf]
        value = data.draw(st.sampled_from(free or ["onbekend"]))
    else:
        whole = cell_text(decision.text).strip()
        had = cell_text(first[0].evidence).split()
        value = "" if had == whole.split() else whole
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blad.xlsx"
        write_sheet(path, [item(d, tiny_taxonomy) for d in batch], tiny_taxonomy)
        put(path, {f"{letters_of(path)[kind]}{row + 2}": value})
        found = read_sheet(path, tiny_taxonomy, analyst="Noor")
    assert found.n_unreviewed == len(batch) - 1
    assert len(found.decisions) + len(found.problems) == 1
    if value == "onbekend":
        assert "not a polarity" in found.problems[0]
    else:
        assert found.decisions[0].where == f"Beoordelen!{row + 2}"
        assert what(found.decisions[0]) != normal(decision)


# --- which rows count ---------------------------------------------------------------------


def read(path, taxonomy, **options):
    return read_sheet(path, taxonomy, analyst="Noor", **options)


@pytest.mark.parametrize(
    ("cells", "counts"),
    [
        ({}, False),
        ({"gecontroleerd": "ja"}, True),
        ({"gecontroleerd": " JA\xa0"}, True),
        ({"gecontroleerd": True}, True),
        ({"gecontroleerd": "x"}, True),
        ({"gecontroleerd": "nee"}, False),
        ({"gecontroleerd": "nee", "sentiment": "neutraal"}, False),
        ({"sentiment": "neutraal"}, True),
        ({"label 2": None}, True),
        ({"bewijs 1": None}, True),
        ({"label 3": "op_antwoord", "polariteit 3": "neg"}, True),
        ({"signaal 1": None}, True),
        # The same, written otherwise.
        ({"label 1": "Eten ", "polariteit 1": "Positief", "signaal 1": "WEG"}, False),
        ({"opmerking": "weet ik niet"}, False),
        ({"nr": 99, "reden": "gekozen"}, False),
    ],
)
def test_a_row_counts_when_it_was_checked_or_changed(path, tiny_taxonomy, cells, counts):
    other = item(decided("Prima."), tiny_taxonomy)
    write_sheet(path, [item(decided(), tiny_taxonomy), other], tiny_taxonomy)
    edit(path, {(heading, 2): value for heading, value in cells.items()})
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert len(found.decisions) == counts
    assert found.n_unreviewed == 2 - counts


def test_what_a_decision_bears(path, tiny_taxonomy):
    items = [item(decided(part=MEASUREMENT, score=3.5), tiny_taxonomy)]
    write_sheet(path, items, tiny_taxonomy)
    edit(path, {("gecontroleerd", 2): "ja", ("opmerking", 2): " twijfel \n"})
    (decision,) = read(path, tiny_taxonomy).decisions
    assert decision == dataclasses.replace(
        decided(part=MEASUREMENT, score=3.5),
        analyst="Noor",
        date=decision.date,
        source="blad.xlsx",
        where="Beoordelen!2",
        remark="twijfel",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", decision.date)
    (named,) = read(path, tiny_taxonomy, default_source="maart.xlsx").decisions
    assert named.source == "maart.xlsx"


def test_the_analyst_of_a_row_goes_first(path, tiny_taxonomy):
    items = [item(decided(text, ()), tiny_taxonomy) for text in ("een", "twee")]
    write_sheet(path, items, tiny_taxonomy, analyst="Bram")
    edit(path, {("gecontroleerd", 2): "ja", ("gecontroleerd", 3): "ja", ("analist", 3): None})
    assert [d.analyst for d in read(path, tiny_taxonomy).decisions] == ["Bram", "Noor"]


def fill(path, rows):
    """Fill in a blank sheet, a row for each."""
    edit(
        path,
        {(heading, n): v for n, row in enumerate(rows, start=2) for heading, v in row.items()},
    )


def test_a_blank_sheet(path, tiny_taxonomy):
    assert write_sheet(path, [], tiny_taxonomy, blank_rows=50) == 0
    assert list(letters_of(path))[:3] == ["vraag", "cijfer", "tekst"]
    assert not {"reden", "deel", "vingerafdruk"} & set(letters_of(path))
    assert read(path, tiny_taxonomy) == SheetRead()
    rows = [
        {"tekst": "Koud.", "label 1": "eten", "polariteit 1": "neg", "sentiment": "negatief"},
        {},
        {"tekst": "Er was een feest.", "sentiment": "neutraal", "gecontroleerd": "ja"},
        {"tekst": "Nog niet bekeken."},
        {"tekst": "Nee.", "label 1": "eten", "polariteit 1": "neg", "gecontroleerd": "nee"},
    ]
    fill(path, rows)
    found = read(path, tiny_taxonomy)
    assert [(d.text, d.where, d.part) for d in found.decisions] == [
        ("Koud.", "Beoordelen!2", TRAINING),
        ("Er was een feest.", "Beoordelen!4", TRAINING),
    ]
    assert (found.problems, found.n_unreviewed) == ([], 2)


def test_a_row_that_was_added_below_the_queue(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    added = {"tekst": "Oud.", "label 1": "eten", "polariteit 1": "neg", "sentiment": "negatief"}
    edit(path, {(heading, 3): value for heading, value in added.items()})
    found = read(path, tiny_taxonomy)
    assert [d.text for d in found.decisions] == ["Oud."]
    assert found.n_unreviewed == 1


@pytest.mark.parametrize("headings", [["vingerafdruk"], ["vingerafdruk", "reden", "nr"]])
def test_without_the_hidden_column_only_ja_counts(path, tiny_taxonomy, headings):
    items = [item(decided(text), tiny_taxonomy) for text in ("een", "twee")]
    write_sheet(path, items, tiny_taxonomy)
    edit(path, {("gecontroleerd", 3): "ja", ("bewijs 1", 3): None, ("bewijs 2", 3): None})
    for heading in headings:
        book = Edit(path)
        book.sheet.delete_cols(book.columns[heading])
        book.save()
    found = read(path, tiny_taxonomy)
    assert [d.text for d in found.decisions] == ["twee"]
    assert found.n_unreviewed == 1
    assert "vingerafdruk" in found.notes[0]


# --- what is wrong ------------------------------------------------------------------------

PROBLEMS = [
    ({"label 1": "smak/etn"}, "label 1", "unknown label 'smak/etn'; did you mean 'smaak/eten'?"),
    ({"label 1": "wachten/eten"}, "label 1", "unknown label 'wachten/eten'; did you mean"),
    ({"label 1": "qqqq"}, "label 1", "unknown label 'qqqq'."),
    ({"label 1": 5}, "label 1", "unknown label '5'."),
    (
        {"label 1": "Wachten"},
        "label 1",
        "'Wachten' is a category. Choose one of its labels: wachten/in_de_rij, "
        "wachten/op_antwoord.",
    ),
    ({"polariteit 1": None}, "polariteit 1", "no polarity beside the label. Choose neg, pos, neu."),
    ({"polariteit 1": "negatiever"}, "polariteit 1", "not a polarity. Choose neg, pos, neu."),
    (
        {"bewijs 1": "iets anders"},
        "bewijs 1",
        "these words are not in the text of this row. Copy them from it, or empty the cell.",
    ),
    (
        {"bewijs 1": date(2025, 3, 1)},
        "bewijs 1",
        "these words are not in the text of this row. Copy them from it, or empty the cell.",
    ),
    (
        {"label 3": "eten", "polariteit 3": "pos"},
        "label 3",
        "eten pos stands twice. Keep one.",
    ),
    ({"polariteit 3": "neg"}, "label 3", "no label beside what is filled in. Choose one."),
    ({"bewijs 4": "brood"}, "label 4", "no label beside what is filled in. Choose one."),
    (
        {"sentiment": None},
        "sentiment",
        "no sentiment. Choose negatief, positief, neutraal, gemengd.",
    ),
    ({"sentiment": "boos"}, "sentiment", "not a sentiment. Choose"),
    ({"signaal 2": "weg"}, "signaal 2", "weg stands twice. Keep one."),
    ({"signaal 1": "wegg"}, "signaal 1", "unknown signal 'wegg'; did you mean 'weg'?"),
    ({"cijfer": 11}, "cijfer", "not a grade from 0 to 10. Mend it or empty the cell."),
    ({"cijfer": "n.v.t."}, "cijfer", "not a grade from 0 to 10."),
    ({"cijfer": date(2025, 5, 7)}, "cijfer", "not a grade from 0 to 10."),
    ({"deel": "test"}, "deel", "not one of training, meting."),
    ({"gecontroleerd": "misschien"}, "gecontroleerd", "neither ja nor nee."),
    ({"tekst": None}, "tekst", "no text beside the labels. Put it back."),
    ({"tekst": date(2025, 5, 7)}, "tekst", "a date, not a text. Type it as text."),
]


@pytest.mark.parametrize(("cells", "heading", "message"), PROBLEMS)
def test_problems_are_told_cell_by_cell(path, tiny_taxonomy, cells, heading, message):
    items = [item(decided(), tiny_taxonomy), item(decided("Prima.", ()), tiny_taxonomy)]
    write_sheet(path, items, tiny_taxonomy)
    checked = {("gecontroleerd", 2): "ja", ("gecontroleerd", 3): "ja"}
    letters = edit(path, checked | {(h, 2): value for h, value in cells.items()})
    found = read(path, tiny_taxonomy)
    told = [p for p in found.problems if f"({heading})" in p]
    assert len(told) == 1
    assert told[0].startswith(f"blad.xlsx, Beoordelen!{letters[heading]}2 ({heading}): {message}")
    # The row is passed over; the others are read.
    assert [d.text for d in found.decisions] == ["Prima."]


def test_all_problems_of_a_row_are_told(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    cells = {"label 1": "x", "polariteit 2": "x", "sentiment": None, "cijfer": -1, "signaal 1": "y"}
    edit(path, {("gecontroleerd", 2): "ja"} | {(h, 2): value for h, value in cells.items()})
    assert len(read(path, tiny_taxonomy).problems) == 5


@pytest.mark.parametrize("where", ["label 1", "signaal 1", "polariteit 1", "sentiment", "cijfer"])
def test_no_problem_holds_the_customers_words(path, tiny_taxonomy, where):
    secret = "een uur in de rij"
    for value in (secret, secret.upper(), "een heel ander verhaal van een andere klant dus hier"):
        write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
        edit(path, {("gecontroleerd", 2): "ja", (where, 2): value})
        (problem,) = read(path, tiny_taxonomy).problems
        assert value.lower() not in problem.lower()


def test_ambiguous_names_list_the_candidates(path, two_taxonomy):
    write_sheet(path, [], two_taxonomy, blank_rows=5)
    row = {"tekst": "Duur.", "polariteit 1": "neg", "sentiment": "negatief"}
    fill(path, [row | {"label 1": "prijs"}, row | {"tekst": "Goedkoop.", "label 1": "Webshop"}])
    found = read(path, two_taxonomy)
    assert found.problems == [
        "blad.xlsx, Beoordelen!F2 (label 1): 'prijs' is the name of several: webshop/prijs_web, "
        "winkel/prijs_winkel. Choose one."
    ]
    # A category with one label can only mean that one.
    assert found.decisions[0].aspects == (GoldAspect("prijs_web", "neg", None),)


@pytest.mark.parametrize(
    ("word", "leaf"),
    [
        ("winkel/sfeer", "sfeer"),
        ("sfeer", "sfeer"),
        (" SFEER\xa0", "sfeer"),
        ("Sfeer en  inrichting", "sfeer"),
        ("winkel / sfeer en inrichting", "sfeer"),
        ("Winkel > Sfeer en inrichting", "sfeer"),
        ("winkel/prijs", "prijs_winkel"),
        ("prijs winkel", "prijs_winkel"),
    ],
)
def test_ways_to_write_a_label(path, two_taxonomy, word, leaf):
    write_sheet(path, [], two_taxonomy, blank_rows=5)
    row = {"tekst": "Nou.", "label 1": word, "polariteit 1": "Negatief", "sentiment": "NEG "}
    fill(path, [row])
    (decision,) = read(path, two_taxonomy).decisions
    assert decision.aspects == (GoldAspect(leaf, "neg", None),)
    assert decision.sentiment == "negatief"


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ("LEKKER  brood", "Lekker brood"),
        ("lekker\nbrood ", "Lekker brood"),
        ('"Lekker brood"', "Lekker brood"),
        ("nooit meer…", "nooit meer"),
        ("zo’n rij", "zo'n rij"),
        ("   ", None),
    ],
)
def test_evidence_is_mended_where_it_can_be(path, tiny_taxonomy, evidence, expected):
    text = TEXT + " Wat is dat zo'n rij?"
    write_sheet(path, [item(decided(text), tiny_taxonomy)], tiny_taxonomy)
    edit(path, {("bewijs 1", 2): evidence})
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert found.decisions[0].aspects[0].evidence == expected


def test_taking_a_label_away_takes_what_stands_beside_it(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    edit(path, {("label 1", 2): None})
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert [a.leaf for a in found.decisions[0].aspects] == ["in_de_rij"]


def test_only_a_category_was_sure(path, tiny_taxonomy):
    aspect = Aspect("wachten", None, "neg", 0.8, 0, 5, TEXT[:5])
    result = Result(Sentiment("negatief", -0.5), (aspect,), (), "nl", True, "m")
    write_sheet(path, [QueueItem(TEXT, None, None, result, "x")], tiny_taxonomy)
    assert read(path, tiny_taxonomy) == SheetRead(n_unreviewed=1)
    edit(path, {("gecontroleerd", 2): "ja"})
    assert "is a category" in read(path, tiny_taxonomy).problems[0]
    edit(path, {("label 1", 2): "in_de_rij"})
    assert read(path, tiny_taxonomy).decisions[0].aspects[0].leaf == "in_de_rij"


def test_the_same_text_with_other_labels(path, tiny_taxonomy):
    write_sheet(path, [], tiny_taxonomy, blank_rows=9)
    row = {"tekst": "Koud.", "label 1": "eten", "polariteit 1": "neg", "sentiment": "negatief"}
    fill(path, [row, row, row | {"tekst": "Koud. ", "sentiment": "gemengd"}])
    found = read(path, tiny_taxonomy)
    assert len(found.decisions) == 1
    assert len(found.problems) == 1
    assert "C4 (tekst): the same text as in Beoordelen!2, with other labels" in found.problems[0]


def test_nobody_judged_the_sentiment_without_a_column_for_it(path, tiny_taxonomy):
    write_sheet(path, [], tiny_taxonomy, blank_rows=5)
    fill(path, [{"tekst": "Koud.", "label 1": "eten", "polariteit 1": "neg"}])
    assert "no sentiment" in read(path, tiny_taxonomy).problems[0]
    book = Edit(path)
    book.sheet.delete_cols(book.columns["sentiment"])
    book.save()
    assert read(path, tiny_taxonomy).decisions[0].sentiment is None


# --- what spreadsheets and people do ------------------------------------------------------


def test_columns_and_rows_may_be_moved(path, tiny_taxonomy):
    texts = ["een", "twee", "drie", "vier"]
    items = [item(decided(text, ()), tiny_taxonomy) for text in texts]
    write_sheet(path, items, tiny_taxonomy)
    edit(path, {("gecontroleerd", 3): "ja", ("sentiment", 5): "neutraal"})
    sheet = openpyxl.load_workbook(path).worksheets[0]
    rows = [list(row) for row in sheet.iter_rows(max_row=5, values_only=True)]
    book = openpyxl.Workbook()
    book.active.title = "Voorblad"
    moved = book.create_sheet("Blad 2")
    moved.append(["Beoordeeld door de afdeling"])
    moved.append([])
    order = sorted(range(len(rows[0])), key=lambda i: str(rows[0][i]))
    for row in [rows[0], rows[4], None, rows[2], rows[1], rows[3]]:
        moved.append([] if row is None else [" extra ", *(row[i] for i in order)])
    moved.cell(3, 1).value = "eigen kolom"
    moved.cell(3, 2).value = str(moved.cell(3, 2).value).upper() + " "
    book.save(path)
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert {(d.text, d.where) for d in found.decisions} == {
        ("vier", "Blad 2!4"),
        ("twee", "Blad 2!6"),
    }
    assert found.n_unreviewed == 2


def test_columns_that_were_sorted_apart(path, tiny_taxonomy):
    items = [item(decided(text, ()), tiny_taxonomy) for text in ("een", "twee", "drie")]
    write_sheet(path, items, tiny_taxonomy)
    cells = {("gecontroleerd", row): "ja" for row in (2, 3, 4)}
    letters = edit(path, cells | {("tekst", 2): "twee", ("tekst", 3): "een"})
    found = read(path, tiny_taxonomy)
    assert [d.text for d in found.decisions] == ["drie"]
    assert [p.split(":")[0] for p in found.problems] == [
        f"blad.xlsx, Beoordelen!{letters['tekst']}{row} (tekst)" for row in (2, 3)
    ]


def test_a_text_that_was_changed_is_noted(path, tiny_taxonomy):
    write_sheet(path, [item(decided("Jan was boos.", ()), tiny_taxonomy)], tiny_taxonomy)
    edit(path, {("gecontroleerd", 2): "ja", ("tekst", 2): "[NAAM] was boos."})
    found = read(path, tiny_taxonomy)
    assert [d.text for d in found.decisions] == ["[NAAM] was boos."]
    assert "1 texts or questions were changed" in found.notes[0]


def test_what_excel_makes_of_cells(path, tiny_taxonomy):
    book = openpyxl.Workbook()
    sheet = book.active
    headings = ["Tekst", "LABEL_1", "Polariteit  1", "Bewijs 1", "sentiment\xa0", "cijfer"]
    sheet.append([*headings, "label1"])
    sheet.append([10, "eten", "neg ", None, "negatief", 7.0])
    sheet.append(["regel een\r\nregel twee", "eten", "neg", "regel twee", " Negatief", "7,5"])
    sheet.append([CellRichText("rijk ", "opgemaakt"), "eten", "neg", "rijk opgemaakt", "negatief"])
    book.save(path)
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert [(d.text, d.score) for d in found.decisions] == [
        ("10", 7.0),
        ("regel een\nregel twee", 7.5),
        ("rijk opgemaakt", None),
    ]
    assert found.decisions[1].aspects[0].evidence == "regel twee"
    assert found.notes == [
        "blad.xlsx, Sheet: the heading 'label 1' stands 2 times; only the first column was read."
    ]


def test_a_polarity_column_that_is_gone(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    book = Edit(path)
    book.sheet.delete_cols(book.columns["polariteit 2"])
    book.save()
    found = read(path, tiny_taxonomy)
    assert found.decisions == []
    assert "the column 'polariteit 2' is gone" in found.problems[0]


def test_several_sheets(path, tiny_taxonomy):
    write_sheet(path, [item(decided(), tiny_taxonomy)], tiny_taxonomy)
    book = Edit(path)
    book["gecontroleerd", 2] = "ja"
    copy = book.book.copy_worksheet(book.sheet)
    copy.title = "Tweede"
    copy.cell(2, book.columns["tekst"]).value = "Prima."
    for n in (1, 2):
        copy.cell(2, book.columns[f"bewijs {n}"]).value = None
    copy.cell(2, book.columns["vingerafdruk"]).value = None
    book.save()
    assert [d.where for d in read(path, tiny_taxonomy).decisions] == ["Beoordelen!2", "Tweede!2"]


def test_a_sheet_saved_as_csv(tmp_path, path, tiny_taxonomy):
    items = [item(decided('Zei "nee";\ntwee keer', ()), tiny_taxonomy)]
    write_sheet(path, [*items, item(decided("Prima", ()), tiny_taxonomy)], tiny_taxonomy)
    edit(path, {("gecontroleerd", 2): "ja", ("label 1", 3): "x"})
    sheet = openpyxl.load_workbook(path).worksheets[0]
    target = tmp_path / "blad.csv"
    with target.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=";").writerows(sheet.iter_rows(max_row=3, values_only=True))
    found = read(target, tiny_taxonomy)
    assert [(d.text, d.where, d.source) for d in found.decisions] == [
        ('Zei "nee";\ntwee keer', "2", "blad.csv")
    ]
    assert found.problems[0] == "blad.csv, row 3 (label 1): unknown label 'x'."


def test_files_that_cannot_be_read(tmp_path, path, tiny_taxonomy):
    with pytest.raises(InputError, match="cannot be opened"):
        read(path, tiny_taxonomy)
    path.write_bytes(b"PK\x03\x04 nee")
    with pytest.raises(InputError, match="not a spreadsheet"):
        read(path, tiny_taxonomy)
    book = openpyxl.Workbook()
    book.active.append(["id", "tekst"])
    book.save(path)
    with pytest.raises(InputError, match=r"no columns 'tekst' and 'label 1'.*sheets are: Sheet"):
        read(path, tiny_taxonomy)
    other = tmp_path / "blad.jsonl"
    other.write_text('{"tekst": "x"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="workbook or a CSV"):
        read(other, tiny_taxonomy)
    with pytest.raises(InputError, match="folder"):
        write_sheet(tmp_path, [], tiny_taxonomy)


# --- labelled output ----------------------------------------------------------------------


def labelled(path, taxonomy, rows, columns=("id", "antwoord")):
    """Write labelled output as `druppel label` does, with columns of the analyst's own."""
    from druppel.tables import Layout

    lines = []
    for number, (text, result, more) in enumerate(rows):
        lines.append({"id": number, columns[1]: text} | to_row(result, taxonomy) | more)
    added = [c for c in lines[0] if c not in (*columns, *table_columns(taxonomy))]
    layout = Layout([*columns, *table_columns(taxonomy), *added], delimiter=";", bom=True)
    write_table(path, lines, layout, format=path.suffix[1:])
    return path


@pytest.fixture
def labelled_rows(tiny_taxonomy):
    first = as_result(decided(), tiny_taxonomy, model="klein")
    second = as_result(decided("Het brood | was oud", ()), tiny_taxonomy)
    return [
        (TEXT, first, {"gecontroleerd": "ja"}),
        ("Het brood | was oud", second, {"gecontroleerd": ""}),
        ("", Result(None, (), (), None, False, "m"), {"gecontroleerd": ""}),
        ("The bread was old", Result(None, (), (), "en", True, "m"), {"gecontroleerd": ""}),
    ]


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_labelled_output(tmp_path, tiny_taxonomy, labelled_rows, suffix):
    path = labelled(tmp_path / f"gelabeld.{suffix}", tiny_taxonomy, labelled_rows)
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert [what(d) for d in found.decisions] == [what(decided())]
    assert found.decisions[0].where == ("Antwoorden!2" if suffix == "xlsx" else "2")
    assert found.n_unreviewed == 2
    # What got no labels, such as another language, was not judged by anyone.
    everything = read(path, tiny_taxonomy, all_rows=True)
    assert [d.text for d in everything.decisions] == [TEXT, "Het brood | was oud"]
    assert everything.n_unreviewed == 1


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("eten:neg", {("eten", "neg")}),
        ("smaak/eten neg; in_de_rij : pos", {("eten", "neg"), ("in_de_rij", "pos")}),
        ("Op antwoord: negatief,\nEten neu", {("op_antwoord", "neg"), ("eten", "neu")}),
        ("", set()),
    ],
)
def test_aspects_mended_by_hand(tmp_path, tiny_taxonomy, labelled_rows, cell, expected):
    labelled_rows[0][2]["aspecten"] = cell
    path = labelled(tmp_path / "gelabeld.xlsx", tiny_taxonomy, labelled_rows)
    found = read(path, tiny_taxonomy)
    assert found.problems == []
    assert found.decisions[0].labels[0] == expected


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("aspecten", "eten", "write each as label:neg, label:pos or label:neu."),
        ("aspecten", "eten:boos", "not a polarity."),
        ("aspecten", "wachten:neg", "'wachten' is a category."),
        ("aspecten", "etn:neg", "unknown label 'etn'; did you mean 'smaak/eten'?"),
        ("aspecten", "eten:neg, eten:neg", "eten neg stands twice."),
        ("signalen", "weg, wegg", "unknown signal 'wegg'; did you mean 'weg'?"),
        ("sentiment", "", "no sentiment."),
        ("bewijs", "eten: iets anders", "these words are not in the text of this row."),
    ],
)
def test_problems_of_labelled_output(tmp_path, tiny_taxonomy, labelled_rows, column, cell, message):
    labelled_rows[0][2][column] = cell
    labelled_rows[1][2]["gecontroleerd"] = "ja"
    path = labelled(tmp_path / "gelabeld.xlsx", tiny_taxonomy, labelled_rows)
    found = read(path, tiny_taxonomy)
    (problem,) = found.problems
    letter = letters_of(path)[column]
    assert problem.startswith(f"gelabeld.xlsx, Antwoorden!{letter}2 ({column}): {message}")
    assert len(found.decisions) == 1


def test_quotations_with_a_bar_in_them(tmp_path, tiny_taxonomy):
    text = "brood | kaas: koud | eten: vies"
    aspects = (GoldAspect("eten", "neg", text), GoldAspect("in_de_rij", "pos", "koud"))
    result = as_result(decided(text, aspects), tiny_taxonomy)
    rows = [(text, result, {"gecontroleerd": "ja"})]
    path = labelled(tmp_path / "gelabeld.csv", tiny_taxonomy, rows)
    found = read(path, tiny_taxonomy)
    evidence = {a.leaf: a.evidence for a in found.decisions[0].aspects}
    # "eten: " within the quotation looks like the next one; what remains is still literal.
    assert evidence["in_de_rij"] == "koud"
    assert evidence["eten"] in text
    assert evidence["eten"].startswith("brood | kaas: koud")


def test_a_formula_in_a_csv_is_the_text_that_it_was(tmp_path, tiny_taxonomy):
    text = "=lekker brood"
    aspects = (GoldAspect("eten", "pos", "=lekker"),)
    rows = [(text, as_result(decided(text, aspects), tiny_taxonomy), {"gecontroleerd": "ja"})]
    path = labelled(tmp_path / "gelabeld.csv", tiny_taxonomy, rows)
    assert "'=lekker" in path.read_text("utf-8-sig")
    (decision,) = read(path, tiny_taxonomy).decisions
    assert (decision.text, decision.aspects) == (text, aspects)


def test_a_heading_that_asks_is_the_question(tmp_path, tiny_taxonomy, labelled_rows):
    columns = ("id", "Wat kan er beter?")
    path = labelled(tmp_path / "gelabeld.csv", tiny_taxonomy, labelled_rows, columns)
    assert read(path, tiny_taxonomy).decisions[0].question == "Wat kan er beter?"


def test_several_labelled_columns(tmp_path, tiny_taxonomy):
    result = to_row(as_result(decided(), tiny_taxonomy), tiny_taxonomy)
    row = {"goed": TEXT, "beter": TEXT + " Ja.", "gecontroleerd": "ja"}
    row |= {f"{c}_{name}": value for c in ("goed", "beter") for name, value in result.items()}
    path = tmp_path / "gelabeld.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([list(row), list(row.values())])
    assert [d.text for d in read(path, tiny_taxonomy).decisions] == [TEXT, TEXT + " Ja."]
    only = read(path, tiny_taxonomy, text_column="beter")
    assert [d.text for d in only.decisions] == [TEXT + " Ja."]
    with pytest.raises(InputError, match="no column"):
        read(path, tiny_taxonomy, text_column="anders")


def test_labelled_output_of_which_nothing_says_what_was_checked(
    tmp_path, tiny_taxonomy, labelled_rows
):
    for _, _, more in labelled_rows:
        more.clear()
    path = labelled(tmp_path / "gelabeld.xlsx", tiny_taxonomy, labelled_rows)
    found = read(path, tiny_taxonomy)
    assert found.decisions == []
    assert "'gecontroleerd'" in found.problems[0]
    assert len(read(path, tiny_taxonomy, all_rows=True).decisions) == 2


# --- conflicts ----------------------------------------------------------------------------


@pytest.fixture
def conflicts():
    more = {"date": "2025-03-01T09:00:00+00:00"}
    pairs = [
        (decided(analyst="Noor", **more), decided(analyst="Bram", signals=(), **more)),
        (
            decided("Prima", (), "positief", (), analyst="Noor", part=MEASUREMENT, **more),
            decided("Prima", (), "neutraal", (), analyst="Bram", part=MEASUREMENT, **more),
        ),
    ]
    return [Conflict(pair[0].key, pair) for pair in pairs]


def test_conflicts_are_settled_by_ja(path, tiny_taxonomy, conflicts):
    assert write_conflicts(path, conflicts, tiny_taxonomy) == 0
    assert read(path, tiny_taxonomy) == SheetRead(n_unreviewed=2)
    edit(path, {("besluit", 3): "ja", ("besluit", 2): "nee", ("besluit", 5): "ja"})
    found = read(path, tiny_taxonomy)
    assert (found.problems, found.n_unreviewed) == ([], 0)
    assert [what(d) for d in found.decisions] == [
        what(dataclasses.replace(conflict.decisions[1], settles=True)) for conflict in conflicts
    ]
    # It is the one who settles that decides.
    assert {d.analyst for d in found.decisions} == {"Noor"}
    assert found.decisions[0].where == "Conflicten!3"


def test_a_conflict_may_be_settled_by_a_third_opinion(path, tiny_taxonomy, conflicts):
    write_conflicts(path, conflicts, tiny_taxonomy)
    cells = {("besluit", 2): "ja", ("sentiment", 2): "negatief", ("label 1", 2): None}
    edit(path, cells)
    (decision,) = read(path, tiny_taxonomy).decisions
    assert decision.sentiment == "negatief"
    assert [a.leaf for a in decision.aspects] == ["in_de_rij"]
    assert decision.settles


def test_two_decisions_about_one_text_settle_nothing(path, tiny_taxonomy, conflicts):
    write_conflicts(path, conflicts, tiny_taxonomy)
    letters = edit(path, {("besluit", row): "ja" for row in (2, 3, 4)})
    found = read(path, tiny_taxonomy)
    assert [d.text for d in found.decisions] == ["Prima"]
    assert found.problems == [
        f"blad.xlsx, Conflicten!{letters['besluit']}3 (besluit): ja in rows 2, 3, all of one text. "
        "Keep one."
    ]


def test_conflicts_show_who_said_what(path, tiny_taxonomy, conflicts):
    write_conflicts(path, conflicts, tiny_taxonomy)
    sheet = openpyxl.load_workbook(path)["Conflicten"]
    rows = list(sheet.iter_rows(max_row=5, values_only=True))
    assert rows[0][:4] == ("nr", "oordeel van", "datum", "deel")
    assert [row[:4] for row in rows[1:]] == [
        (1, "Noor", "2025-03-01", "training"),
        (1, "Bram", "2025-03-01", "training"),
        (2, "Noor", "2025-03-01", "meting"),
        (2, "Bram", "2025-03-01", "meting"),
    ]
